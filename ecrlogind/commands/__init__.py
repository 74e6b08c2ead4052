"""The commands of the command line, a module per kind, and what they share: `places`, `published`, `terminal`."""
