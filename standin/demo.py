"""`make demo`: the real daemon against the stand-in AWS, with lifetimes short enough to watch.

Nothing acts in it but the daemon, the stand-in and one foreign logout. Everything it makes lies in one temporary
directory; everything it connects to is on loopback. It ends with 1 unless the registry has refused the first password
after the renewal, and taken the second.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from standin import StandIn

LIFETIME = 8.0
PATIENCE = 30.0

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "222222222222.dkr.ecr.us-east-1.amazonaws.com"
PUBLIC = "public.ecr.aws"

Found = TypeVar("Found")


class Disappointed(Exception):  # noqa: N818 - the demo did not show what it is to show
    """Something did not come about."""


def main(*, only_newest: bool = True) -> int:
    """Run the demo; return its exit status.

    Without *only_newest* the registries go on taking old passwords, which must make the demo fail.
    """
    with tempfile.TemporaryDirectory(prefix="ecrlogind-demo-") as name, StandIn(Path(name) / "aws") as aws:
        try:
            aws.world.passwords.only_newest = only_newest
            _show(Path(name), aws)
        except Disappointed as disappointment:
            print(f"\nThe demo failed: {disappointment}", file=sys.stderr)
            return 1
    return 0


def _show(directory: Path, aws: StandIn) -> None:
    aws.world.lifetime = LIFETIME
    runner, deploy = directory / "runner" / "config.json", directory / "deploy" / "config.json"
    settings = directory / "config.toml"
    settings.write_text(_settings(runner, deploy, aws.endpoints))
    _say("The settings: three registries, two destinations. AWS is played by a stand-in on loopback.")
    print(_indented("\n".join(settings.read_text().splitlines()[:6])))

    with _daemon(directory, settings) as ecrlogind:
        _say("The daemon starts, and `ecrlogind wait` returns once every login is in place.")
        started_at = time.monotonic()
        ecrlogind("wait", "--timeout", f"{PATIENCE:.0f}s")
        print(f"    in place {time.monotonic() - started_at:.1f} s later")
        # At once: on a busy machine the renewal is not far.
        first = _password(runner, OWN)
        _expect(aws, OWN, first, "the first password at the registry", taken=True)
        print(_indented(ecrlogind("status")))

        _say(f"A credential lives for {LIFETIME:.0f} s here (at AWS: 12 h). At half its life it is renewed.")
        second = _until(lambda: _other(_password(runner, OWN), first), "a renewal")
        _until(lambda: _password(deploy, OWN) == second, "the renewal at the other destination")
        _expect(aws, OWN, first, "the first password after the renewal", taken=False)
        _expect(aws, OWN, _password(runner, OWN), "the second password", taken=True)

        _say("Somebody else logs this host out of a registry, as `docker logout` would.")
        _log_out(runner, PUBLIC)
        logged_out_at = time.monotonic()
        _until(lambda: PUBLIC in _logins(runner), "the login that was taken out")
        print(f"    put back {time.monotonic() - logged_out_at:.2f} s later")
        _until(lambda: "healthy" in ecrlogind("status"), "a healthy status")
        print(_indented(ecrlogind("status")))
    calls = len(aws.calls(action="GetAuthorizationToken"))
    _say(f"The daemon has stopped. AWS was asked for a credential {calls} times, by nobody but its issuer.")


def _settings(runner: Path, deploy: Path, endpoints: Mapping[str, str]) -> str:
    lines = [
        f'registries = ["self", "{OTHER}", "{PUBLIC}"]',
        "destinations = [",
        f'  {{ path = "{runner}" }},',
        f'  {{ path = "{deploy}" }},',
        "]",
        "",
        "[renew]",
        'floor = "1s"',
        "[check]",
        "registry = false",
        "[aws.endpoints]",
        *(f'{service} = "{url}"' for service, url in endpoints.items()),
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def _daemon(directory: Path, settings: Path) -> Iterator[Callable[..., str]]:
    """Run the daemon; yield what runs another of its commands and returns what that prints."""
    state = directory / "state"
    environment = {"PATH": os.environ.get("PATH", "/usr/bin"), "ECRLOGIND_STATE": str(state)}
    program = [sys.executable, "-m", "ecrlogind"]

    def ecrlogind(*arguments: str) -> str:
        command = [*program, *arguments]
        return subprocess.run(command, env=environment, text=True, capture_output=True, timeout=60, check=False).stdout

    command = [*program, "run", "--config", str(settings)]
    daemon = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield ecrlogind
    except Disappointed:
        # Not killed: it ends its couriers, which would make the directories anew that are taken away next.
        daemon.terminate()
        print(daemon.communicate(timeout=PATIENCE)[1], file=sys.stderr)
        raise
    else:
        daemon.send_signal(signal.SIGTERM)
        _, log = daemon.communicate(timeout=PATIENCE)
        if daemon.returncode != 0:
            raise Disappointed(f"the daemon ended with {daemon.returncode}:\n{log}")
        _say("What it told its log:")
        print(_indented("\n".join(log.splitlines()[:10])))
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()


def _logins(file: Path) -> dict[str, dict[str, str]]:
    try:
        found: dict[str, dict[str, str]] = json.loads(file.read_text())["auths"]
    except FileNotFoundError:
        return {}
    return found


def _password(file: Path, host: str) -> str:
    login = _logins(file).get(host)
    if login is None:
        raise Disappointed(f"{file} has no login for {host}")
    return base64.b64decode(login["auth"]).decode().partition(":")[2]


def _other(password: str, than: str) -> str | None:
    return password if password != than else None


def _log_out(file: Path, host: str) -> None:
    document = json.loads(file.read_text())
    del document["auths"][host]
    beside = file.with_name("logout")
    beside.write_text(json.dumps(document))
    beside.chmod(0o600)
    beside.replace(file)


def _until(look: Callable[[], Found | None], what: str) -> Found:
    """Look until there is something to see."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.05)
    raise Disappointed(f"{what} did not come within {PATIENCE:.0f} s")


def _expect(aws: StandIn, host: str, password: str, what: str, *, taken: bool) -> None:
    """Ask the registry whether it takes *password*."""
    basic = base64.b64encode(f"AWS:{password}".encode()).decode()
    headers = {"Host": host, "Authorization": f"Basic {basic}"}
    request = urllib.request.Request(f"{aws.url}/v2/", headers=headers)  # noqa: S310 - the stand-in, on loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            said = answer.status
    except urllib.error.HTTPError as error:
        said = error.code
    if said not in ((200,) if taken else (401, 403)):
        raise Disappointed(f"{what}: the registry answers {said}")
    print(f"    {what}: {'taken' if taken else 'refused'}")


def _say(sentence: str) -> None:
    print(f"\n{sentence}", flush=True)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
