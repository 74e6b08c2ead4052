"""`python -m ecrlogind`."""

from ecrlogind.cli import program

program()
