"""How long a login is missing after somebody has logged out: the real docker, the real watch."""

from __future__ import annotations

import json
import statistics
import subprocess
import time

from bench.keeper import running, until
from bench.place import Place, hosts_of
from bench.report import Fact, Found

TIMES = 4


def measure(place: Place, found: Found, runs: int) -> None:
    """Add the median and the worst time from the end of `docker logout` until the login is back."""
    [host] = hosts_of(1)
    file = place.docker_config / "config.json"
    missing: list[float] = []

    def is_back() -> bool:
        return host in json.loads(file.read_bytes() or b"{}").get("auths", {})

    with running(place, place.settings([host], destinations=[f'{{ path = "{file}" }}'])):
        for _ in range(runs * TIMES):
            until(is_back, "the login", pause=0.002)
            time.sleep(0.5)  # so that the keeper has come to rest, as on a host
            subprocess.run(["docker", "logout", host], env=place.environment, check=True, stdout=subprocess.DEVNULL)
            began = time.perf_counter()
            until(is_back, "the login", pause=0.002)
            missing.append(time.perf_counter() - began)
    median, worst = statistics.median(missing), max(missing)
    found.facts.append(
        Fact(f"login back after docker logout ({len(missing)} times)", f"{median:.2f} s, at worst {worst:.2f} s")
    )
