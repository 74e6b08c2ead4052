"""Shell scripts, as somebody."""

import subprocess


def run(person, script):
    """Run a shell script as a user, in the user's home."""
    done = person.run("sh", "-ec", script, cwd=person.home)
    assert done.returncode == 0, done.stderr


def shell(command):
    """Run a shell script as whoever runs the tests."""
    subprocess.run(command, shell=True, check=True)
