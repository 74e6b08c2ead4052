"""The real daemon as a process of its own, against the stand-in AWS."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

PATIENCE = 30.0
PROGRAM = [sys.executable, "-m", "ecrlogind"]


def until(look, what="it", patience=PATIENCE):
    """Look until there is something to see, and return it."""
    end = time.monotonic() + patience
    while True:
        if found := look():
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come about within {patience:.0f} s")
        time.sleep(0.02)


def toml(value):
    """Write a Python value as TOML has it in one line."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{ " + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(toml(each) for each in value) + "]"
        case str():
            return json.dumps(value)
        case _:
            return str(value)


class Keeper:
    """One host: its settings, state directory and destinations under *directory*, its AWS the stand-in *aws*."""

    def __init__(self, directory, aws, program=None):
        self.directory = directory
        self.aws = aws
        self.program = program or PROGRAM
        self.state = directory / "state"
        self.config = directory / "config.toml"
        self.environment = {"PATH": os.environ["PATH"], "ECRLOGIND_STATE": str(self.state)}
        self.process = None
        self.log_file = directory / "log"

    def destination(self, name="one"):
        """Return where a destination's file is to stand."""
        return self.directory / name / "config.json"

    def write_settings(self, registries, destinations=None, **sections):
        """Write the settings; without *destinations* one file is it."""
        destinations = destinations or [{"path": str(self.destination())}]
        given = {"registries": registries, "destinations": destinations}
        tables = {"renew": {"floor": "200ms"}, "check": {"registry": False}} | sections
        tables.setdefault("aws", {"endpoints": self.aws.endpoints})
        lines = [f"{key} = {toml(value)}" for key, value in given.items()]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{key} = {toml(value)}" for key, value in table.items())]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self, *arguments, prefix=()):
        """Start the daemon; its log is appended to a file."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *self.program, "run", "--config", str(self.config), *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.process

    def stop(self, number=signal.SIGTERM):
        """End the daemon and return its exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.end()

    def end(self):
        """Make sure that nothing is left running."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @contextmanager
    def running(self, *arguments):
        """Run the daemon for a while."""
        self.start(*arguments)
        try:
            yield self
        finally:
            self.end()

    def run(self, command, *arguments, **more):
        """Run another command to its end."""
        config = ["--config", str(self.config)] if command in ("login", "logout", "check", "run") else []
        return subprocess.run(
            [*self.program, command, *config, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            **more,
        )

    @property
    def log(self):
        return self.log_file.read_text()

    @property
    def document(self):
        try:
            return json.loads((self.state / "status.json").read_text())
        except FileNotFoundError:
            return None

    def states(self):
        return {login["registry"]: login["state"] for login in (self.document or {"logins": []})["logins"]}

    def wait_for(self, **states):
        """Wait until the status says exactly this of the logins (by registry name)."""
        return until(lambda: self.states() == states["states"], f"{states['states']} (now {self.states()})")

    def auths(self, name="one"):
        try:
            return json.loads(self.destination(name).read_text())["auths"]
        except (FileNotFoundError, KeyError):
            return {}

    def password(self, host, name="one"):
        login = self.auths(name).get(host)
        return base64.b64decode(login["auth"]).decode().partition(":")[2] if login else None
