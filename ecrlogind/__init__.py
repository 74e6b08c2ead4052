"""Keeps a host logged in to its AWS ECR registries."""

__version__ = "0.1.0"
