"""Evidence, gathered: as root of every user whom the settings name, else of whoever asks. Nothing here judges.

*root* below stands for the host's root directory.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from ecrlogind.core.mistake import Mistake
from ecrlogind.core.registry import PUBLIC_DUAL_STACK_HOST, PUBLIC_HOST, Registry
from ecrlogind.core.settings import Problem, Settings
from ecrlogind.core.standing import Account
from ecrlogind.core.wire import Aws, Probe
from ecrlogind.doctor.clients import Login
from ecrlogind.doctor.evidence import Asked, Evidence, Keeper, Mounted, Seen
from ecrlogind.doctor.image import Image
from ecrlogind.doctor.looking import look_as, see
from ecrlogind.doctor.trails import trails

_PATIENCE = timedelta(seconds=20)

# Where the old ways, the runners' and dockerd's settings and our own drop-ins are found.
_PLACES = (
    "etc/rc.local",
    "etc/rc.d/rc.local",
    "etc/crontab",
    "etc/cron.d/*",
    "etc/cron.hourly/*",
    "etc/cron.daily/*",
    "var/spool/cron/*",
    "var/spool/cron/crontabs/*",
    "etc/profile.d/*.sh",
    "etc/environment",
    "etc/systemd/system/*.service",
    "etc/systemd/system/*.timer",
    "etc/systemd/system/*.service.d/*.conf",
    "run/systemd/system/*.service.d/*.conf",
    "etc/sysconfig/gitlab-runner",
    "etc/default/docker",
    "etc/sysconfig/docker",
    "etc/docker/daemon.json",
    "etc/gitlab-runner/config.toml",
    "etc/resolv.conf",
)
_AUDIT = "var/log/audit/audit.log"
_AUDIT_TAIL = 256 * 1024
_PROGRAMS = ("docker", "podman", "skopeo", "buildah", "gitlab-runner", "dockerd")


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line knows already: whom it is about, what the settings say, where the keeper's state is."""

    account: Account
    others: tuple[Account, ...]
    environment: Mapping[str, str]
    is_caller: bool
    state: Path
    config: str
    settings: Settings | None
    problems: tuple[Problem, ...]
    aws: Aws


def gather(given: Given, image: Image | None, root: Path = Path("/")) -> Evidence:
    """Look at everything, and ask the registry about *image*."""
    keeper = see_keeper(given.state)
    hosts = [image.host] if image else [row["host"] for row in keeper.registries if row["host"]]
    user = look_as(given.account, hosts, given.environment if given.is_caller else None, imds=True)
    if user is None:
        raise PermissionError(f"only root can look as {given.account.name}")
    others = tuple(seen for each in given.others if (seen := look_as(each, hosts, None, imds=False)) is not None)
    evidence = Evidence(
        now=time.time(),
        as_root=os.geteuid() == 0,
        user=user,
        keeper=keeper,
        config=given.config,
        settings=given.settings,
        problems=given.problems,
        others=others,
        host=tuple(_see_host(root)),
        mounts=tuple(_mounts(root)),
        programs=_programs(given.environment.get("PATH")),
        image=image,
    )
    unseen = tuple(_unseen(evidence))
    return replace(evidence, asked=tuple(_ask(evidence, given)), unseen=unseen)


def see_keeper(state: Path) -> Keeper:
    """Read what a keeper left in *state*."""
    try:
        document = json.loads((state / "status.json").read_bytes())
    except OSError as error:
        return Keeper(str(state), error=os.strerror(error.errno or 0))
    except ValueError:
        return Keeper(str(state), error="it is not JSON")
    if not isinstance(document, dict) or document.get("version") != 1:
        return Keeper(str(state), error="it is of another version")
    try:
        os.kill(document["pid"], 0)
    except ProcessLookupError:
        return Keeper(str(state), document)
    except PermissionError:
        pass
    return Keeper(str(state), document, running=True)


def _see_host(root: Path) -> Iterator[Seen]:
    for pattern in _PLACES:
        for path in sorted(root.glob(pattern)):
            if path.is_dir():
                continue
            seen = see(str(path))
            yield replace(seen, path=f"/{path.relative_to(root)}")
    with suppress(OSError):
        audit = root / _AUDIT
        with audit.open("rb") as log:
            log.seek(max(0, audit.stat().st_size - _AUDIT_TAIL))
            yield Seen(f"/{_AUDIT}", text=log.read(_AUDIT_TAIL).decode("utf-8", "replace"))


def _mounts(root: Path) -> Iterator[Mounted]:
    """Yield the config.json files that are mounted, as files, into somebody's mount namespace."""
    known: set[tuple[int, str]] = set()
    for mountinfo in sorted(root.glob("proc/[0-9]*/mountinfo")):
        with suppress(OSError, ValueError):
            namespace = (mountinfo.parent / "ns/mnt").stat().st_ino
            for line in mountinfo.read_text().splitlines():
                _, _, _, source, at, *_ = line.split(" ")
                is_gone = source.endswith("//deleted")
                path = _unescaped(source.removesuffix("//deleted"))
                if not path.endswith("/config.json") or (namespace, at) in known:
                    continue
                known.add((namespace, at))
                yield Mounted(int(mountinfo.parent.name), path, _unescaped(at), is_gone)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _programs(path: str | None) -> dict[str, str]:
    """Return the clients that are installed, with docker's version, which matters."""
    found = {each: "" for each in _PROGRAMS if shutil.which(each, path=path)}
    if "docker" in found:
        with suppress(OSError, subprocess.TimeoutExpired):
            program = shutil.which("docker", path=path) or "docker"
            done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False)
            version = re.search(r"version (\d+(?:\.\d+)+)", done.stdout)
            found["docker"] = version[1] if version else ""
    return found


def _unseen(evidence: Evidence) -> Iterator[str]:
    closed = [each.path for each in evidence.host if each.error == "EACCES"]
    if closed:
        yield f"may not be read by {evidence.user.name}: {', '.join(closed)}; `sudo ecrlogind doctor` can"
    if not evidence.as_root:
        yield "other users' files; `sudo ecrlogind doctor` looks at those whom the settings name"
    for each in evidence.users:
        if not each.is_caller:
            yield f"the environment of {each.name}'s sessions; run `ecrlogind doctor` as {each.name} where it fails"


# --- the registry


def _ask(evidence: Evidence, given: Given) -> Iterator[Asked]:
    """Ask the registry for the image's manifest with each of the logins that a client would use."""
    from ecrlogind.issuer.probe import pull

    image = evidence.image
    if image is None or not _is_asked(image.host, given.settings):
        return
    logins: dict[tuple[str, str], tuple[list[str], Login]] = {}
    for trail in trails(evidence):
        if trail.login is not None:
            key = (trail.login.username, trail.login.password.reveal())
            logins.setdefault(key, ([], trail.login))[0].append(trail.client)
    environment = {key: value for key, value in given.environment.items() if key.lower().endswith("_proxy")}
    for clients, login in logins.values():
        is_public = image.host in (PUBLIC_HOST, PUBLIC_DUAL_STACK_HOST)
        probe = Probe(image.host, login.username, login.password, is_public, (image.name,))
        found = pull(probe, given.aws, environment, _PATIENCE)
        yield Asked(tuple(clients), login.username, found.digest, found.refusal, found.no_layers)


def _is_asked(host: str, settings: Settings | None) -> bool:
    """Whether *host* is ours to ask: an ECR registry, or an alias of one. Nobody else is sent a login by us."""
    aliases: Iterable[str | None] = (entry.alias for entry in settings.registries) if settings else ()
    if host in aliases:
        return True
    try:
        Registry.parse(host)
    except Mistake:
        return False
    return True
