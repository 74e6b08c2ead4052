"""The commands of the command line, a module per kind: those that keep, those that read."""
