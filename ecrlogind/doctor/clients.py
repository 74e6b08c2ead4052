"""What docker, podman and GitLab Runner would each do to find a login: which file, which key, which helper, what wins.

Observed with the real clients (facts, sections 2 and 7). Pure: it goes by what was gathered.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ecrlogind.core import dockerconfig
from ecrlogind.core.credential import Secret
from ecrlogind.core.document import HELPERS, STORE, Document, Unfit, holds_login
from ecrlogind.doctor.evidence import HelperSaid, Seen, User
from ecrlogind.doctor.image import Image

# Since then docker reads DOCKER_AUTH_CONFIG, and lets it win.
READS_VARIABLE = (28, 3)

# The places of a login that are no files.
VARIABLE = "DOCKER_AUTH_CONFIG in the environment"
RUNNER_VARIABLE = "DOCKER_AUTH_CONFIG in config.toml"
HELPER = "docker-credential-"


@dataclass(frozen=True, slots=True)
class Login:
    """What a client would send, and the *place* it has it from: a file, a helper, a variable.

    *key* is what it stands under in a file. *ends_at* is Unix seconds, None where nobody knows.
    """

    place: str
    username: str
    password: Secret
    key: str = ""
    ends_at: int | None = None

    @property
    def where(self) -> str:
        """The place and the key in it, in words."""
        return f"{self.place}, key {self.key}" if self.key else self.place


@dataclass(frozen=True, slots=True)
class Trail:
    """The way of one client: its steps in words, and the login at its end; without one it pulls as nobody.

    *fails* says that the client stops with an error before it asks anybody.
    """

    client: str
    steps: tuple[str, ...]
    login: Login | None = None
    fails: bool = False


@dataclass(slots=True)
class _Steps:
    client: str
    said: list[str] = field(default_factory=list)

    def end(self, login: Login | None = None, *, fails: bool = False) -> Trail:
        if login is None and not fails:
            self.said.append("no login: the pull is anonymous")
        return Trail(self.client, tuple(self.said), login, fails)


# --- docker


def docker(user: User, image: Image, version: str) -> Trail:
    """Follow the docker command line of *version*."""
    steps, host = _Steps("docker"), image.host
    text = user.environment.get("DOCKER_AUTH_CONFIG")
    if text and reads_variable(version):
        entry = variable_logins(text).get(host)
        if entry is not None and (login := _login(entry, VARIABLE)):
            steps.said.append(f"DOCKER_AUTH_CONFIG is set and has {host}: it wins over every file and helper")
            return steps.end(login)
        steps.said.append(f"DOCKER_AUTH_CONFIG is set, but has no login for {host}")
    seen = user.file(user.docker_file)
    document = _read(seen, steps)
    if document is None:
        return steps.end()
    helper = document.helper(host)
    if helper is None:
        helper = _text(document.root.get(STORE)) if document.root else None
        named = f"{STORE} names docker-credential-{helper} for every registry"
    else:
        named = f"{HELPERS} names docker-credential-{helper} for {host}" if helper else f"{HELPERS} opts {host} out"
    if helper is not None:
        steps.said.append(named)
    if helper:
        said = _helper_said(user, helper, host)
        steps.said.append(f"docker-credential-{helper}: {said.said or said.outcome}")
        if said.outcome == "login" and said.password is not None:
            return steps.end(_of_helper(said))
        if said.outcome == "not_found" or _major(version) >= 29:  # noqa: PLR2004  docker's own version
            return steps.end(fails=said.outcome != "not_found")
        steps.said.append("so this docker looks into the file after all")
    return steps.end(_in_auths(document, seen, _docker_keys(document, host), steps))


def reads_variable(version: str) -> bool:
    """Whether docker of *version* reads DOCKER_AUTH_CONFIG; one that is not known is taken for a recent one."""
    parts = version.split(".")
    known = tuple(int(part) for part in parts[:2] if part.isdigit())
    return len(known) < 2 or known >= READS_VARIABLE  # noqa: PLR2004  major and minor


def variable_logins(text: str) -> Mapping[str, Any]:
    """Return the logins in DOCKER_AUTH_CONFIG by key: nothing where docker, which is strict, would not read it."""
    return {} if variable_fault(text) else json.loads(text)["auths"]


def variable_fault(text: str) -> str | None:
    """Return why docker refuses *text* as DOCKER_AUTH_CONFIG, None if it does not."""
    try:
        root = json.loads(text)
    except (ValueError, RecursionError):
        return "it is not JSON"
    if not isinstance(root, dict) or not isinstance(root.get("auths"), dict):
        return "it has no auths"
    if others := sorted(set(root) - {"auths"}):
        return f"besides auths it has {others[0]!a}"
    for key, entry in root["auths"].items():
        if not isinstance(entry, dict) or set(entry) - {"auth"}:
            return f"the entry for {key!a} has more than auth"
    return None


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 0


def _docker_keys(document: Document, host: str) -> Iterator[str]:
    """Yield the keys that docker takes for *host*: the bare one first, then whatever has that host in it."""
    yield host
    for key in document.auths.members if document.auths else ():
        if key != host and _host_of(key) == host:
            yield key


def _host_of(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


# --- podman, skopeo, buildah


def podman_files(user: User) -> Iterator[str]:
    """Yield where containers/image looks for logins, in its order."""
    environment = user.environment
    if given := environment.get("REGISTRY_AUTH_FILE"):
        yield given
        return
    run = environment.get("XDG_RUNTIME_DIR")
    yield f"{run}/containers/auth.json" if run else f"/run/containers/{user.uid}/auth.json"
    if not user.is_caller:
        yield f"/run/user/{user.uid}/containers/auth.json"
    home = environment.get("HOME") or user.home
    yield f"{environment.get('XDG_CONFIG_HOME') or f'{home}/.config'}/containers/auth.json"
    yield user.docker_file
    yield f"{home}/.dockercfg"


def podman(user: User, image: Image) -> Trail:
    """Follow podman, and skopeo and buildah, which share its ways."""
    steps = _Steps("podman")
    if given := user.environment.get("REGISTRY_AUTH_FILE"):
        steps.said.append(f"REGISTRY_AUTH_FILE is set: {given} is the only file that counts")
    for path in podman_files(user):
        seen = user.file(path)
        if seen.error == "ENOENT":
            steps.said.append(f"{path}: not there")
            continue
        document = _read(seen, steps)
        if document is None:
            return steps.end(fails=True)
        if helper := document.helper(image.host):
            said = _helper_said(user, helper, image.host)
            steps.said.append(f"{path}: docker-credential-{helper}: {said.said or said.outcome}")
            if said.outcome == "login" and said.password is not None:
                return steps.end(_of_helper(said))
            return steps.end(fails=said.outcome != "not_found")
        if login := _in_auths(document, seen, _podman_keys(image), steps):
            return steps.end(login)
    return steps.end()


def _podman_keys(image: Image) -> Iterator[str]:
    """Yield the keys for *image*, the most specific first."""
    parts = image.repository.split("/")
    for length in range(len(parts), 0, -1):
        yield "/".join([image.host, *parts[:length]])
    yield image.host
    yield from dockerconfig.twins(image.host)


# --- GitLab Runner


def gitlab(user: User, image: Image, variable: str | None) -> Trail:
    """Follow GitLab Runner, whose process runs as *user*; *variable* is DOCKER_AUTH_CONFIG in its config.toml."""
    steps = _Steps("gitlab-runner")
    if variable:
        entries = _unstrict(variable)
        for key in sorted(entries, key=len, reverse=True):
            if _gitlab_matches(key, image) and (login := _login(entries[key], RUNNER_VARIABLE)):
                steps.said.append(f"DOCKER_AUTH_CONFIG in config.toml has {key}: it comes before every file")
                return steps.end(login)
    # It asks for the home, never for DOCKER_CONFIG.
    seen = user.file(user.own_file)
    document = _read(seen, steps)
    if document is None:
        return steps.end()
    helper = document.helper(image.host) or (_text(document.root.get(STORE)) if document.root else None)
    if helper:
        said = _helper_said(user, helper, image.host)
        steps.said.append(f"docker-credential-{helper}: {said.said or said.outcome}")
        return steps.end(_of_helper(said) if said.outcome == "login" and said.password else None)
    keys = sorted(document.auths.members, key=len, reverse=True) if document.auths else []
    return steps.end(_in_auths(document, seen, (key for key in keys if _gitlab_matches(key, image)), steps))


def _gitlab_matches(key: str, image: Image) -> bool:
    bare = key.lower().removeprefix("https://").removeprefix("http://").rstrip("/")
    whole = f"{image.host}/{image.repository}".lower()
    return whole == bare or whole.startswith(f"{bare.removesuffix('/v1').removesuffix('/v2')}/")


def _unstrict(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)["auths"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


# --- what they share


def _read(seen: Seen, steps: _Steps) -> Document | None:
    """Return what the file says, None where a client gets nothing out of it."""
    if seen.error or seen.text is None:
        words = {"ENOENT": "not there", "EACCES": "may not be read", "ENOTDIR": "a part of its path is no directory"}
        steps.said.append(f"{seen.path}: {words.get(seen.error, seen.error or 'not a file')}")
        return None
    try:
        return Document.of(seen.text)
    except Unfit as unfit:
        steps.said.append(f"{seen.path}: {unfit}")
        return None


def _in_auths(document: Document, seen: Seen, keys: Iterator[str], steps: _Steps) -> Login | None:
    for key in keys:
        entry = document.auths.get(key) if document.auths else None
        if not holds_login(entry):
            continue
        login = _login(entry, seen.path, key)
        steps.said.append(f"{seen.path}: auths has {key}" + ("" if login else ", which cannot be decoded"))
        return login
    steps.said.append(f"{seen.path}: no login for it under auths")
    return None


def _login(entry: Any, place: str, key: str = "") -> Login | None:
    auth = entry.get("auth") if isinstance(entry, Mapping) else None
    if not isinstance(auth, str):
        return None
    try:
        text = base64.b64decode(auth.replace("\n", "").replace("\r", ""), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    username, colon, password = text.partition(":")
    return Login(place, username, Secret(password), key, dockerconfig.ends_at(auth)) if colon else None


def _of_helper(said: HelperSaid) -> Login:
    return Login(f"{HELPER}{said.helper}", said.username, said.password or Secret(""))


def _helper_said(user: User, helper: str, host: str) -> HelperSaid:
    missing = HelperSaid(helper, host, "missing", said="not installed, or not in PATH")
    return next((each for each in user.helpers if (each.helper, each.host) == (helper, host)), missing)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
