"""config.json and its directory: may the user read and write what is the user's own."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from ecrlogind.doctor.advice import word
from ecrlogind.doctor.evidence import Evidence, User
from ecrlogind.doctor.finding import Finding


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look at owner and mode, of every user whom we know."""
    for user in evidence.users:
        yield from _of(user)


def _of(user: User) -> Iterator[Finding]:
    file, directory = user.file(user.docker_file), user.file(user.docker_directory)
    place, path = word(user.docker_directory), word(user.docker_file)
    mend = f"`sudo chown -R {word(user.name)}: {place}`"
    if file.error == "EACCES" or (directory.error == "EACCES" and not file.text):
        yield Finding(
            "permission_denied",
            f"{user.docker_file} may not be read by {user.name}",
            "docker warns once and pulls as nobody",
            f"{mend}; `sudo chmod u+rwX {place} {path}`",
            user.docker_file,
        )
        return
    if directory.uid not in (-1, user.uid) and user.docker_directory == f"{user.home}/.docker":
        yield Finding(
            "wrong_owner",
            f"{user.docker_directory} belongs to uid {directory.uid}, not to {user.name}",
            "neither docker nor ecrlogind can write there for that user; `sudo docker login` leaves such directories",
            mend,
            user.docker_file,
        )
    elif file.uid not in (-1, user.uid) and user.docker_file == user.own_file and file.uid != 0:
        yield Finding(
            "wrong_owner",
            f"{user.docker_file} belongs to uid {file.uid}, not to {user.name}",
            "whoever owns it can read and change the logins of another user",
            mend,
            user.docker_file,
        )
    if file.mode & (stat.S_IWGRP | stat.S_IWOTH) and user.docker_file == user.own_file:
        yield Finding(
            "config_writable_by_others",
            f"{user.docker_file} can be written by others than {user.name}",
            "they decide with which login, and through which helper, this user pulls",
            f"`chmod go-w {path}`",
            user.docker_file,
        )
