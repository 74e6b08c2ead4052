"""The stand-in in a process of its own, and how another process speaks to it. Standard library only."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode


class Remote:
    """A stand-in at *url*, for another process: each method is one request to its control endpoint."""

    def __init__(self, url: str) -> None:
        self.url = url
        # No proxy of the environment's comes between us and loopback.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def about(self) -> dict[str, Any]:
        """Return its URLs and CA, as `StandIn.description` does."""
        return self._ask("GET", "about")  # type: ignore[no-any-return]

    def calls(self, **wanted: str) -> list[dict[str, Any]]:
        """Return the calls whose fields equal *wanted*, as mappings."""
        return self._ask("GET", "calls", query=wanted)  # type: ignore[no-any-return]

    def forget_calls(self) -> None:
        """Start the record anew."""
        self._ask("DELETE", "calls")

    def fault(self, **fields: Any) -> int:
        """Put a fault in force (the fields of `Fault`); return its number for `lift`."""
        return int(self._ask("POST", "faults", fields)["number"])

    def lift(self, number: int | None = None) -> None:
        """End one fault, or all."""
        self._ask("DELETE", "faults", query={} if number is None else {"number": str(number)})

    def set(self, **fields: Any) -> None:
        """Change the world: ``lifetime``, ``clock_skew``, ``only_newest`` and so on."""
        self._ask("PATCH", "world", fields)

    def set_instance(self, **fields: Any) -> None:
        """Change the instance: ``role``, ``account``, ``region``, ``state`` and so on."""
        self._ask("PATCH", "instance", fields)

    def deny(self, action: str, identity: str = "*", resource: str = "*") -> None:
        """Deny an action."""
        self._ask("POST", "denials", {"action": action, "identity": identity, "resource": resource})

    def permit(self) -> None:
        """Lift all denials."""
        self._ask("DELETE", "denials")

    def role(self, arn: str, trusts: list[str] | None = None, external_id: str | None = None) -> None:
        """Say what a role's trust policy asks for."""
        self._ask("POST", "roles", {"arn": arn, "trusts": trusts, "external_id": external_id})

    def user(self, account: str, name: str = "ci") -> dict[str, Any]:
        """Make a user; return its keys as mapping: ``access_key``, ``secret_key``, ``arn``."""
        return self._ask("POST", "users", {"account": account, "name": name})  # type: ignore[no-any-return]

    def add_image(self, image: str, host: str = "*") -> str:
        """Let ``repo:tag`` be found; return its digest."""
        return str(self._ask("POST", "images", {"image": image, "host": host})["digest"])

    def passwords(self, region: str | None = None) -> list[dict[str, Any]]:
        """Return the passwords issued, oldest first, as mappings."""
        return self._ask("GET", "passwords", query={"region": region} if region else {})  # type: ignore[no-any-return]

    def revoke(self, password: str | None = None, *, region: str | None = None) -> None:
        """Let the registries take a password, those of a region, or all so far no more."""
        self._ask("POST", "revoke", {"password": password, "region": region})

    def accepts(self, host: str, password: str) -> bool:
        """Whether the registry at *host* takes *password* now."""
        return bool(self._ask("POST", "accepts", {"host": host, "password": password})["accepts"])

    def secrets(self) -> list[str]:
        """Return every secret given out so far."""
        return self._ask("GET", "secrets")  # type: ignore[no-any-return]

    def _ask(self, method: str, verb: str, body: Any = None, query: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the URL is the stand-in's own
            f"{self.url}/_standin/{verb}" + (f"?{urlencode(query)}" if query else ""),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise ValueError(json.load(refusal)["error"]) from None


@contextmanager
def spawn(directory: Path, *options: str) -> Iterator[Remote]:
    """Run ``python -m standin`` with *options* for as long as the context lasts; it dies with us, whatever happens."""
    command = [sys.executable, "-m", "standin", "--state-dir", str(directory.absolute()), *options]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the stand-in did not start: what it said stands above")
            yield Remote(json.loads(line)["url"])
        finally:
            process.stdin.close()
            process.wait(10)
