"""What people and programs wait for while a keeper runs: status, wait, the helper, the provider, export."""

from __future__ import annotations

import json
import shutil

from bench import peers
from bench.keeper import running
from bench.logins import OURS
from bench.measure import Contender, Figures, in_turn
from bench.place import NAMED, Place, hosts_of
from bench.report import Fact, Found, Race

TIMES = 6  # each of them takes milliseconds


def measure(place: Place, found: Found, runs: int) -> None:
    """Add how long each takes, beside what it is compared with."""
    hosts = hosts_of(NAMED)
    destinations = [f'{{ path = "{place.destination}" }}', '{ user = "root", via = "none" }']
    with running(place, place.settings(hosts, destinations=destinations)):
        asked = _answers(place, hosts[0], runs * TIMES)
        commands = _commands(place, hosts[0], runs * TIMES)
    found.races += [
        Race("an answer from the helper", {OURS: asked["helper"], peers.GO + ", its cache warm": asked["go"]}),
        Race("kubelet's provider", {OURS: asked["provider"]}),
    ]
    for name in ("status", "wait", "export"):
        found.races.append(Race(name, {OURS: commands[name], "python -c pass": commands["pass"]}))
    found.facts += [
        Fact("helper's get to the Go helper's", f"{asked['helper'].wall / asked['go'].wall:.2f} x", "0.15"),
        Fact("status to python -c pass", f"{commands['status'].wall / commands['pass'].wall:.2f} x", "3"),
    ]


def _answers(place: Place, host: str, runs: int) -> dict[str, Figures]:
    request = json.dumps(
        {
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "kind": "CredentialProviderRequest",
            "image": f"{host}/app:v1",
        }
    )
    files = {"host": f"{host}\n", "request": request}
    for name, text in files.items():
        (place.directory / name).write_text(text)
    commands = {
        "helper": ("host", str(place.ours / "bin" / "docker-credential-ecrlogind"), "get"),
        "go": ("host", shutil.which("docker-credential-ecr-login") or "", "get"),
        "provider": ("request", str(place.ours / "bin" / "ecrlogind-credential-provider")),
    }
    return in_turn([_fed(place, name, *each) for name, each in commands.items()], runs)


def _fed(place: Place, name: str, file: str, *command: str) -> Contender:
    return Contender(name, command, place.environment, stdin=str(place.directory / file))


def _commands(place: Place, host: str, runs: int) -> dict[str, Figures]:
    program = str(place.ours / "bin" / "ecrlogind")
    commands = {
        "status": [program, "status"],
        "wait": [program, "wait", host],
        "export": [program, "export", str(place.directory / "exported")],
        "pass": [str(place.ours / "bin" / "python"), "-c", "pass"],
    }
    return in_turn([Contender(name, command, place.environment) for name, command in commands.items()], runs)
