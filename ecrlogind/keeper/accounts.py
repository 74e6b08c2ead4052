"""The user database: who a name is, right now."""

from __future__ import annotations

import grp
import os
import pwd

from ecrlogind.core.delivery import Account


def find(name: str) -> Account | None:
    """Return the user called *name*, None if there is none yet."""
    try:
        return _account(pwd.getpwnam(name))
    except KeyError:
        return None


def ourselves() -> Account:
    """Return whom we run as; a uid without a passwd entry is named by its number and has no home but the root."""
    try:
        return _account(pwd.getpwuid(os.geteuid()))
    except KeyError:
        return Account(str(os.geteuid()), os.geteuid(), os.getegid(), (), "/")


def group(name: str) -> int | None:
    """Return the id of the group called *name*, None if there is none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _account(entry: pwd.struct_passwd) -> Account:
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(groups), entry.pw_dir)
