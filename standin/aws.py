"""The stand-in as a whole: it listens, tells the services apart, and strikes with the faults in force."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from standin import apis, control, instance, registry
from standin.calls import Record
from standin.faults import Fault, Lift, Struck
from standin.identities import Denial, Permit, Session
from standin.message import Denied, Reply, Request, error_reply
from standin.passwords import Password
from standin.server import Delivery, Server
from standin.tls import Authority, Certificates, Flaw
from standin.world import World

_SERVICES = ("ecr", "ecr-public", "sts", "imds", "registry")


class StandIn:
    """A running stand-in AWS; see the package's docstring for what it can do.

    *directory* is where its CA lives. Plain HTTP on *address* and *http_port*, TLS on *tls_port*; 0 picks a free one.
    More sockets open with `listen`.
    """

    def __init__(self, directory: Path, *, address: str = "127.0.0.1", http_port: int = 0, tls_port: int = 0) -> None:
        # First, while no other thread of ours can import anything: two that do can see each other's modules half made.
        apis.warm_up()
        self.world: World = World()
        self.authority = Authority(Path(directory))
        self.certificates = Certificates(self.authority)
        self._servers: list[Server] = []
        self._dropped = Struck(0, Fault(behaviour="hang"))
        self._plain = self._open(address, http_port, tls=False)
        self._secure = self._open(address, tls_port, tls=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every hung call, and of every socket."""
        self.world.faults.lift()
        self._dropped.lifted.set()
        for server in self._servers:
            server.closing.set()
        for server in self._servers:
            server.close()

    def listen(self, address: str, port: int = 443, *, tls: bool = True) -> str:
        """Serve on one more socket; return its URL. With TLS the certificate fits whatever name is asked for."""
        return self._open(address, port, tls=tls).url

    def _open(self, address: str, port: int, *, tls: bool) -> Server:
        server = Server(self._serve, self._gate, address, port, self.certificates if tls else None)
        self._servers.append(server)
        return server

    # --- where it is

    @property
    def url(self) -> str:
        """Where plain HTTP is served."""
        return self._plain.url

    @property
    def endpoints(self) -> dict[str, str]:
        """What to write under `[aws] endpoints`: everything at plain HTTP on loopback."""
        return dict.fromkeys(_SERVICES, self._plain.url)

    @property
    def tls_endpoints(self) -> dict[str, str]:
        """The same over TLS, but for IMDS, which has none."""
        return dict.fromkeys(_SERVICES, self._secure.url) | {"imds": self._plain.url}

    @property
    def tls_address(self) -> tuple[str, int]:
        """Where TLS is served, for a proxy to go to."""
        return self._secure.server_name, self._secure.server_port

    @property
    def ca_file(self) -> Path:
        """The CA that clients must trust."""
        return self.authority.file

    @property
    def description(self) -> dict[str, Any]:
        """All of that as JSON has it: what `python -m standin` prints."""
        return {
            "url": self.url,
            "endpoints": self.endpoints,
            "tls_endpoints": self.tls_endpoints,
            "ca_file": str(self.ca_file),
        }

    # --- what it does

    @property
    def instance(self) -> instance.Instance:
        """The EC2 instance that IMDS speaks of."""
        return self.world.instance

    def fault(self, fault: Fault) -> Lift:
        """Let something go wrong until the handle is lifted (it is a context manager)."""
        return self.world.faults.add(fault)

    def lift_faults(self) -> None:
        """End all faults."""
        self.world.faults.lift()

    def deny(self, action: str, identity: str = "*", resource: str = "*") -> Permit:
        """Deny *action* to *identity* until the handle is lifted; all three are shell patterns."""
        return self.world.identities.deny(Denial(action, identity, resource))

    def user(self, account: str, name: str = "ci") -> Session:
        """Make a user with keys."""
        return self.world.identities.user(account, name)

    def flaw(self, flaw: Flaw | None, host: str = "*") -> None:
        """Show a flawed certificate for *host* from now on; None mends it."""
        if flaw is None:
            self.certificates.flaws.pop(host, None)
        else:
            self.certificates.flaws[host] = flaw

    # --- what came of it

    def calls(self, **wanted: Any) -> list[Record]:
        """Return the calls whose fields equal *wanted*; without any, all of them."""
        return self.world.calls.matching(**wanted)

    def wait_for_calls(self, count: int, timeout: float = 10.0, **wanted: Any) -> list[Record]:
        """Return the matching calls once there are *count*; raise TimeoutError."""
        return self.world.calls.wait(count, timeout, **wanted)

    def forget_calls(self) -> None:
        """Start the record anew."""
        self.world.calls.forget()

    def passwords(self, region: str | None = None) -> list[Password]:
        """Return the passwords issued (for ECR Public the region is ``public``), oldest first."""
        return self.world.passwords.issued(region)

    def newest_password(self, region: str) -> str:
        """Return the last password of a region; raise LookupError if there is none."""
        issued = self.passwords(region)
        if not issued:
            raise LookupError(f"no password was issued in {region}")
        return issued[-1].value

    def revoke(self, password: str | None = None, *, region: str | None = None) -> None:
        """Let the registries take a password, those of a region, or all so far no more."""
        self.world.passwords.revoke(value=password, region=region)

    def accepts(self, host: str, password: str) -> bool:
        """Whether the registry at *host* takes *password* now."""
        return registry.accepts(host, password, self.world)

    def secrets(self) -> list[str]:
        """Return every secret given out so far: passwords, tokens, secret keys, session tokens."""
        passwords = self.passwords()
        sessions = self.world.identities.all()
        return [
            *(each.value for each in passwords),
            *(each.token for each in passwords),
            *(each.secret_key for each in sessions),
            *(each.token for each in sessions if each.token),
        ]

    # --- serving

    def _serve(self, request: Request) -> Delivery:
        if request.path.startswith("/_standin/"):
            return Delivery(control.answer(request, self), None, time.time())
        record, real = self._route(request)
        number = self.world.calls.add(record)
        struck = self.world.faults.striking(record) or self._beyond_the_hop_limit(record)
        reply: Reply | None

        def answered() -> Reply:
            try:
                return real()
            except Denied as refusal:
                return error_reply(record.service, refusal)

        if struck is None:
            reply = answered()
        else:
            struck.lifted.wait(struck.fault.latency)
            if struck.fault.behaviour == "hang":
                self.world.calls.answered(number, None, struck.fault.name)
                struck.lifted.wait()
                reply = None
            else:
                reply = struck.fault.answer(record.service, answered)
        self.world.calls.answered(number, reply.status if reply else None, struck.fault.name if struck else None)
        return Delivery(reply, struck, self.world.now)

    def _beyond_the_hop_limit(self, record: Record) -> Struck | None:
        unanswered = record.action == "token" and record.service == "imds" and self.instance.state == "no_answer"
        return self._dropped if unanswered else None

    def _gate(self, kind: str, address: str) -> Struck | None:
        record = Record(at=time.time(), service="connection", action=kind, method="", path="", host=address)
        return self.world.faults.striking(record)

    def _route(self, request: Request) -> tuple[Record, Callable[[], Reply]]:
        """Return what a call is, and how its real answer is made."""
        world = self.world
        record = Record(
            at=time.time(),
            service="other",
            action="other",
            method=request.method,
            path=request.path,
            host=request.host,
            user_agent=request.headers.get("user-agent", ""),
            secure=request.secure,
            proxied=request.proxied,
        )
        if request.path.startswith("/latest/"):
            record = instance.read(request, record)
            return record, lambda: self._metadata(request, record)
        if request.path in ("/v2", "/token") or request.path.startswith(("/v2/", "/token/")):
            record = registry.read(request, record, world)
            return record, lambda: registry.answer(request, record, world)
        if world.layers and request.host == world.layers:
            record = replace(record, service="s3", action="layer")
            return record, lambda: registry.layer(request.path, world)
        record = apis.read(request, record, world)
        return record, lambda: apis.answer(request, record, world)

    def _metadata(self, request: Request, record: Record) -> Reply:
        return self.world.instance.answer(request, record.action, self.world.identities, self.world.now)
