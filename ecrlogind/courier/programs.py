"""docker and credential helpers, run as the user: what they say is read for what it means, and never repeated whole."""

from __future__ import annotations

import base64
import json
import os
import pwd
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from ecrlogind.core.dockerconfig import Trouble
from ecrlogind.courier.clock import Deadline
from ecrlogind.courier.refused import RefusedError

# Where a login shell of the user's looks too: helpers are put there by hand. A user's own directories come last.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin:{home}/.local/bin:{home}/bin"

# The very words by which clients tell this from a failure (docker-credential-helpers, credentials/error.go), and what
# the one for pass says between the two files that it removes.
_NOT_FOUND = ("credentials not found in native keychain", "no usernames for")
_TOKEN = "<token>"  # noqa: S105  # the user name under which docker keeps an identity token

# What docker and helpers say when they fail, in the order in which it is looked for: they nest each other's errors.
_MEANINGS = (
    (r"executable file not found", Trouble.NO_STORE, "install the helper that credsStore or credHelpers names"),
    (r"permission denied while trying to connect", Trouble.DAEMON_DENIED, "usermod -aG docker {user}"),
    (
        r"cannot connect to the docker daemon|is the docker daemon running|error during connect",
        Trouble.NO_DAEMON,
        "start it: systemctl start docker; it is tried again",
    ),
    (r"not initialized|no public key", Trouble.STORE_FAILED, "set the store up as {user}, and try it"),
    (
        r"pinentry|decryption failed|locked|passphrase|inappropriate ioctl|autolaunch|freedesktop\.secrets|cancelled",
        Trouble.STORE_LOCKED,
        "unlock it as {user}, or use a key that needs nobody to be there",
    ),
    (
        r"(sav|stor|gett|eras)ing credentials|could not erase",
        Trouble.STORE_FAILED,
        "try it as {user}: docker-credential-NAME list",
    ),
    (r"x509|certificate", Trouble.DOCKER_FAILED, "let docker trust it: /etc/docker/certs.d/{host}/ca.crt"),
    (
        r"no such host|dial tcp|timeout|connection refused|unreachable|deadline exceeded|temporary failure|\beof\b",
        Trouble.REGISTRY_UNREACHABLE,
        "look at the network between this host and {host}; it is tried again",
    ),
    (
        r"unauthorized|authentication required|incorrect username|denied|\b40[013]\b|authorization token",
        Trouble.LOGIN_REFUSED,
        "see what the registry has against it: ecrlogind doctor",
    ),
)

# What docker says when it asked the registry itself, since it did not reach the daemon, and came to nothing there.
_ASKED_ITSELF = (Trouble.REGISTRY_UNREACHABLE, Trouble.DOCKER_FAILED)

_SECRET = re.compile(r"[A-Za-z0-9+/=_-]{32,}")
_LONGEST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of the user who runs this process and whose home is *home*; *path* is where they are looked for."""

    home: str
    deadline: Deadline
    path: str = _PATH

    @property
    def user(self) -> str:
        """What the user is called."""
        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            return str(os.geteuid())

    @property
    def environment(self) -> Mapping[str, str]:
        """What they get: the passwd home, whatever HOME said, and where the user's session is, if there is one."""
        variables = {
            "PATH": self.path.format(home=self.home),
            "HOME": self.home,
            "DOCKER_CONFIG": f"{self.home}/.docker",
            "USER": self.user,
            "LOGNAME": self.user,
            "LC_ALL": "C.UTF-8",
        }
        session = f"/run/user/{os.geteuid()}"
        if os.path.isdir(session):  # noqa: PTH112  # pathlib costs more than all of this
            variables["XDG_RUNTIME_DIR"] = session
            if os.path.exists(f"{session}/bus"):  # noqa: PTH110
                variables["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={session}/bus"
        return variables

    def ask(self, helper: str, host: str) -> Mapping[str, str] | None:
        """Return the entry that the store behind *helper* has for *host*, as it would stand under `auths`."""
        program = f"docker-credential-{helper}"
        status, said, errors = self._run([program, "get"], host, host)
        if status and any(words in said for words in _NOT_FOUND):
            return None
        try:
            if status:
                raise ValueError
            found = json.loads(said)
            username, secret = found["Username"], found["Secret"]
            pair = f"{username}:{secret}".encode()
        except (ValueError, TypeError, KeyError):
            raise self._meaning(program, said + errors if status else "", host) from None
        if not username and not secret:
            return None  # how docker-credential-pass of 0.6 says that it has none
        if username == _TOKEN:
            return {"identitytoken": str(secret)}
        return {"auth": base64.b64encode(pair).decode()}

    def login(self, host: str, auth: str) -> None:
        """Run `docker login` with what is in *auth*; raise RefusedError."""
        username, _, password = base64.b64decode(auth).decode().partition(":")
        command = ["docker", "login", "--username", username, "--password-stdin", host]
        status, said, errors = self._run(command, password, host)
        if not status:
            return
        refused = self._meaning("docker login", said + errors, host, password, auth)
        raise (self._about_daemon(host) if refused.refusal.code in _ASKED_ITSELF else None) or refused

    def logout(self, host: str) -> None:
        """Run `docker logout`; raise RefusedError."""
        status, said, errors = self._run(["docker", "logout", host], "", host)
        # It ends well even if the store would not let go of it.
        if status or "could not erase" in errors.lower():
            raise self._meaning("docker logout", said + errors, host)

    def _about_daemon(self, host: str) -> RefusedError | None:
        """Return what keeps the user from the daemon, if that is so."""
        status, _, errors = self._run(["docker", "version", "--format", "{{.Server.Version}}"], "", host)
        refused = self._meaning("docker", errors, host)
        return refused if status and refused.refusal.code in (Trouble.NO_DAEMON, Trouble.DAEMON_DENIED) else None

    def _run(self, command: list[str], stdin: str, host: str) -> tuple[int, str, str]:
        program = command[0]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env=self.environment,
            )
        except (FileNotFoundError, PermissionError, NotADirectoryError):
            code = Trouble.NO_DOCKER if program == "docker" else Trouble.NO_STORE
            where = "install it, or use another `via`" if program == "docker" else "install it, or take its name out"
            raise RefusedError(code, f"{_plain(program)} is not there for user {self.user}", where) from None
        try:
            out, err = process.communicate(stdin.encode(), self.deadline.left)
        except subprocess.TimeoutExpired:
            # It is not waited for: what hangs, hangs on. Who started us ends all of our group.
            process.kill()
            raise RefusedError(
                Trouble.DEADLINE,
                f"{_plain(' '.join(command[:2]))} did not end in time for {host}",
                f"see what it waits for, as {self.user}: perhaps for somebody to unlock a store",
            ) from None
        return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def _meaning(self, program: str, said: str, host: str, *secrets: str) -> RefusedError:
        """Return what a failure of *program* means by what it *said*, in a line that holds no secret."""
        is_store = program.startswith("docker-credential-")
        unknown = (Trouble.STORE_FAILED if is_store else Trouble.DOCKER_FAILED), "try it by hand as {user}"
        meant = ((code, hint) for pattern, code, hint in _MEANINGS if re.search(pattern, said, re.IGNORECASE))
        code, hint = next(meant, unknown)
        message = f"{_plain(program)}: {_words(said, secrets) or 'no answer that can be read'}"
        return RefusedError(code, message, hint.format(user=self.user, host=host))


def _words(said: str, secrets: tuple[str, ...]) -> str:
    """Return the line of what a program *said* that tells most, fit for a log."""
    for secret in filter(None, secrets):
        said = said.replace(secret, "[...]")
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("time=")]
    told = [line for line in lines if "error" in line.lower() or "denied" in line.lower()]
    return _plain(_SECRET.sub("[...]", (told or lines[-1:] or [""])[0]))


def _plain(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:_LONGEST_WORDS]
