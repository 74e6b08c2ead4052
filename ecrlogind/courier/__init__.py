"""The user's side: one process per errand that looks at one file with its owner's rights, changes it and exits.

Standard library only: a courier starts for every look, and whose interpreter it is has nothing installed for it.
"""
