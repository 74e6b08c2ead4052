"""Decisions. No clock, no disk, no network, no logger in here: time is an argument."""
