"""`make bench`: ecrlogind and its peers against the same stand-in AWS, side by side in one run.

Whole processes, in turn, after a warm-up; medians, and ratios to each peer. As root on Debian or Ubuntu it installs the
peers (the AWS CLI from the Python package index into a venv of its own). Results go to bench/results.json; with
`--write` the table in docs/performance.md is refreshed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench.measure import Contender, Figures, in_turn
from standin import Fault, Role, StandIn
from tests.support.dockerd import running as running_dockerd
from tests.support.hosts import api_names, on_real_names

ROOT = Path(__file__).parent.parent
REGION = "eu-west-1"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

BARE_SCRIPT = """
import base64, boto3, json, sys
client = boto3.client("ecr", region_name=sys.argv[1])
token = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
base64.b64decode(token)
open(sys.argv[2], "w").write(json.dumps({"auths": {host: {"auth": token} for host in sys.argv[3:]}}))
"""


def hosts_of(count: int) -> list[str]:
    """Return *count* registries of as many accounts in one region."""
    return [f"{number:012d}.dkr.ecr.{REGION}.amazonaws.com" for number in range(1, count + 1)]


class Bench:
    """The stand-in on AWS's real names, and what every contender needs."""

    def __init__(self, directory: Path, aws: StandIn, docker_host: str) -> None:
        self.directory = directory
        self.aws = aws
        self.aws_cli = _installed("aws-cli", "awscli") / "aws"
        # Not the environment of the tests: what that has besides, a host has not, and Python looks for it.
        self.own = _installed("ecrlogind", "--constraint", str(ROOT / "constraints.txt"), str(ROOT))
        self.docker_config = directory / "docker"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory / "home"),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.url,
            "AWS_CA_BUNDLE": str(aws.ca_file),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,  # the one that the AWS CLI reads
            "DOCKER_HOST": docker_host,
            "DOCKER_CONFIG": str(self.docker_config),
            "ECRLOGIND_STATE": str(directory / "state"),
        }

    def afresh(self) -> None:
        """Forget every login and cache: the next one is the first of a host."""
        for name in ("home", "docker", "state", "destination"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        (self.directory / "home").mkdir()
        self.docker_config.mkdir()

    def contender(self, name: str, *command: str) -> Contender:
        """Return *command* as a contender that starts afresh each time."""
        return Contender(name, command, self.environment, self.afresh)

    def ours(self, registries: list[str | dict[str, str]]) -> Contender:
        """Return `ecrlogind login` for *registries*; like its peers it does not ask the registries themselves."""
        config = self.directory / f"{len(registries)}.toml"
        entries = ", ".join(
            f'{{ host = "{each["host"]}", role_arn = "{each["role_arn"]}" }}' if isinstance(each, dict) else f'"{each}"'
            for each in registries
        )
        config.write_text(
            f"registries = [{entries}]\n"
            f'destinations = [{{ path = "{self.directory}/destination/config.json" }}]\n'
            "[check]\nregistry = false\n"
        )
        return self.contender("ecrlogind", str(self.own / "ecrlogind"), "login", "--config", str(config))

    def peers(self, hosts: list[str]) -> list[Contender]:
        """Return what people use today for *hosts*."""
        login = f"{self.aws_cli} ecr get-login-password | docker login --username AWS --password-stdin"
        helper = "docker-credential-ecr-login get"
        return [
            self.contender("aws cli and docker login", "sh", "-ec", "\n".join(f"{login} {host}" for host in hosts)),
            self.contender("Go helper, get", "sh", "-ec", "\n".join(f"echo {host} | {helper}" for host in hosts)),
            self.contender(
                "bare boto3 script",
                str(self.own / "python"),
                "-c",
                BARE_SCRIPT,
                REGION,
                str(self.docker_config / "c"),
                *hosts,
            ),
        ]

    def with_profiles(self, roles: list[dict[str, str]]) -> Contender:
        """Return the AWS CLI with a profile per role, each followed by its docker login."""
        profiles = "".join(
            f"[profile r{n}]\nrole_arn = {each['role_arn']}\ncredential_source = Ec2InstanceMetadata\n"
            for n, each in enumerate(roles)
        )
        config = self.directory / "aws-config"
        config.write_text(profiles)
        lines = [
            f"{self.aws_cli} --profile r{n} ecr get-login-password | "
            f"docker login --username AWS --password-stdin {each['host']}"
            for n, each in enumerate(roles)
        ]
        environment = self.environment | {"AWS_CONFIG_FILE": str(config)}
        return Contender("aws cli, profiles", ["sh", "-ec", "\n".join(lines)], environment, self.afresh)


def main() -> int:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds that each AWS answer takes (0.1)")
    parser.add_argument("--write", action="store_true", help="refresh the table in docs/performance.md")
    options = parser.parse_args()
    if shutil.which("docker-credential-ecr-login") is None:
        subprocess.run(["apt-get", "install", "--yes", "--quiet=2", "amazon-ecr-credential-helper"], check=True)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ecrlogind-bench-")))
        aws = stack.enter_context(StandIn(directory / "aws"))
        dockerd = stack.enter_context(running_dockerd(directory))
        stack.enter_context(on_real_names(aws, *api_names(REGION), *hosts_of(10)))
        for service in ("ecr", "sts"):
            stack.enter_context(aws.fault(Fault(service=service, latency=options.latency)))
        bench = Bench(directory, aws, dockerd.host)
        found = {}
        for count in (1, 10):
            hosts = hosts_of(count)
            title = f"{count} {'registry' if count == 1 else 'registries'}, one identity"
            found[title] = in_turn([bench.ours(list(hosts)), *bench.peers(hosts)], options.runs)
        roles = [{"host": host, "role_arn": f"arn:aws:iam::{host[:12]}:role/pull"} for host in hosts_of(10)]
        for each in roles:
            aws.world.identities.roles[each["role_arn"]] = Role()
        found["10 registries, 10 roles"] = in_turn([bench.ours(list(roles)), bench.with_profiles(roles)], options.runs)
        for service in ("ecr", "sts"):
            stack.enter_context(aws.fault(Fault(service=service, latency=0.2)))
        one = replace(bench.ours(list(roles[:1])), name="one identity")
        ten = replace(bench.ours(list(roles)), name="ten identities")
        growth = in_turn([ten, one], options.runs)
    times = growth["ten identities"].median / growth["one identity"].median
    table = _table(found, options.runs, options.latency) + (
        f"\nTen identities take {times:.2f} times as long as one, with each AWS answer 200 ms late.\n"
    )
    print(table)
    (ROOT / "bench" / "results.json").write_text(
        json.dumps({title: {name: vars(each) for name, each in row.items()} for title, row in found.items()}, indent=2)
    )
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n{table}{END}{after}")
    return 0


def _table(found: dict[str, dict[str, Figures]], runs: int, latency: float) -> str:
    lines = [
        f"Medians of {runs} runs, each AWS answer {latency * 1000:.0f} ms late; ratio: our time to that peer's.",
        "",
        "| what | who | wall | CPU | largest process | ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for title, row in found.items():
        own = row["ecrlogind"].median
        for name, each in row.items():
            cpu, peak = sorted(each.cpu)[len(each.cpu) // 2], max(each.peak) / 1024
            ratio = "" if name == "ecrlogind" else f"{own / each.median:.2f}"
            lines.append(f"| {title} | {name} | {each.median:.2f} s | {cpu:.2f} s | {peak:.0f} MB | {ratio} |")
    return "\n".join(lines) + "\n"


def _installed(name: str, *packages: str) -> Path:
    """Return the programs of a venv with *packages*, made anew: the project may have changed."""
    venv = ROOT / ".venv-bench" / name
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    subprocess.run([venv / "bin" / "python", "-m", "pip", "install", "--quiet", *packages], check=True)
    return venv / "bin"


if __name__ == "__main__":
    sys.exit(main())
