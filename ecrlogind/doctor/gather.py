"""Evidence, gathered: as root of every user whom the settings name, else of whoever asks. Nothing here judges.

*root* below stands for the host's root directory.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ecrlogind.core.delivery import Account
from ecrlogind.core.settings import Problem, Settings
from ecrlogind.core.wire import Aws
from ecrlogind.doctor.asking import ask
from ecrlogind.doctor.dockerd import ask_dockerd
from ecrlogind.doctor.evidence import Evidence, Keeper, Mounted, Seen
from ecrlogind.doctor.image import Image
from ecrlogind.doctor.looking import look_as, see

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
    "etc/docker/certs.d/*/*.crt",
    "etc/gitlab-runner/config.toml",
    "etc/resolv.conf",
)
_AUDIT = "var/log/audit/audit.log"
_AUDIT_TAIL = 256 * 1024
_PROGRAMS = ("docker", "podman", "skopeo", "buildah", "gitlab-runner", "dockerd")


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line knows already: whom it is about, what the settings say, what the keeper left."""

    account: Account
    others: tuple[Account, ...]
    environment: Mapping[str, str]
    is_caller: bool
    keeper: Keeper
    config: str
    settings: Settings | None
    problems: tuple[Problem, ...]
    aws: Aws


def gather(given: Given, image: Image | None, root: Path = Path("/")) -> Evidence:
    """Look at everything, and ask the registry about *image*."""
    hosts = [image.host] if image else [row["host"] for row in given.keeper.registries if row["host"]]
    user = look_as(given.account, hosts, given.environment if given.is_caller else None, imds=True)
    if user is None:
        raise PermissionError(f"only root can look as {given.account.name}")
    others = tuple(seen for each in given.others if (seen := look_as(each, hosts, None, imds=False)) is not None)
    evidence = Evidence(
        now=time.time(),
        as_root=os.geteuid() == 0,
        user=user,
        keeper=given.keeper,
        config=given.config,
        settings=given.settings,
        problems=given.problems,
        others=others,
        host=tuple(_see_host(root)),
        mounts=tuple(_mounts(root)),
        programs=_programs(given.environment.get("PATH")),
        image=image,
    )
    if image is not None:
        evidence = replace(evidence, dockerd=ask_dockerd(given.environment))
    unseen = tuple(_unseen(evidence))
    return replace(evidence, asked=tuple(ask(evidence, given.aws, given.environment)), unseen=unseen)


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
    if evidence.image is not None and "dockerd" in evidence.programs and evidence.dockerd is None:
        yield "dockerd's own proxy and CAs: it does not run, or may not be asked; `sudo ecrlogind doctor IMAGE` can"
    unread = [problem.file for problem in evidence.problems if problem.message.startswith("cannot be read")]
    if unread and not evidence.as_root:
        yield f"the settings: {', '.join(unread)} may not be read; `sudo ecrlogind check` can"
    if not evidence.as_root:
        yield "other users' files; `sudo ecrlogind doctor` looks at those whom the settings name"
    for each in evidence.users:
        if not each.is_caller:
            yield f"the environment of {each.name}'s sessions; run `ecrlogind doctor` as {each.name} where it fails"
