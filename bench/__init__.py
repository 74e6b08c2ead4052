"""ecrlogind measured against the others, and a fleet of it simulated. Nothing in here is a test."""
