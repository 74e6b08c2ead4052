"""podman, and skopeo and buildah, which share its ways."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core import dockerconfig
from ecrlogind.core.document import HELPERS
from ecrlogind.doctor.clients.trail import HELPER, Login, Steps, Trail
from ecrlogind.doctor.evidence import User
from ecrlogind.doctor.image import Image


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
    steps = Steps("podman")
    if given := user.environment.get("REGISTRY_AUTH_FILE"):
        steps.said.append(f"REGISTRY_AUTH_FILE is set: {given} is the only file that counts")
    for path in podman_files(user):
        seen = user.file(path)
        if seen.error == "ENOENT":
            steps.said.append(f"{path}: not there")
            continue
        document = steps.read(seen)
        if document is None:
            return steps.end(fails=True)
        if helper := document.helper(image.host):
            steps.said.append(f"{path}: {HELPERS} names {HELPER}{helper} for {image.host}")
            said = steps.ask(helper, image.host, user)
            return steps.end(Login.of_helper(said), fails=said.outcome not in ("login", "not_found"))
        if login := steps.in_auths(document, seen, _keys(image)):
            return steps.end(login)
    return steps.end()


def _keys(image: Image) -> Iterator[str]:
    """Yield the keys for *image*, the most specific first."""
    parts = image.repository.split("/")
    for length in range(len(parts), 0, -1):
        yield "/".join([image.host, *parts[:length]])
    yield image.host
    yield from dockerconfig.twins(image.host)
