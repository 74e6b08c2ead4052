"""A booted host with us installed: its AWS is a stand-in in the test's hands, its network what the test makes of it."""

import json
from contextlib import contextmanager
from dataclasses import dataclass

from standin import StandIn
from tests.support.hosts import api_names
from tests.support.machine import Machine

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "222222222222.dkr.ecr.us-east-1.amazonaws.com"
THIRD = "333333333333.dkr.ecr.ap-southeast-2.amazonaws.com"
IMDS = "169.254.169.254"
AWS = "127.0.0.10"
NAMES = dict.fromkeys([*api_names("eu-west-1", "us-east-1", "ap-southeast-2"), HOST, OTHER, THIRD], AWS)
CA = '[aws]\nca_bundle = "/etc/ecrlogind/ca.pem"\n'
OURS = "/opt/ecrlogind/bin/ecrlogind"
UNIT = "ecrlogind.service"


def settings(registries=("self",), users=("root",), extra=""):
    """Return the settings' text."""
    destinations = ", ".join(f'{{ user = "{user}" }}' for user in users)
    return f"registries = {json.dumps(list(registries))}\ndestinations = [{destinations}]\n{extra}\n{CA}"


@dataclass(slots=True)
class Booted:
    """One host and its AWS. Nothing is enabled: tests start what they need."""

    machine: Machine
    aws: StandIn

    def connect(self, *, imds=True):
        """Let the network carry, from now on."""
        self.machine.give_address(f"{IMDS}/32")
        self.machine.inside(lambda: self.aws.listen(AWS))
        if imds:
            self.connect_imds()

    def connect_imds(self):
        """Let IMDS answer, from now on."""
        self.machine.inside(lambda: self.aws.listen(IMDS, 80, tls=False))

    def configure(self, *arguments, **more):
        """Write the settings."""
        self.machine.write("/etc/ecrlogind/config.toml", settings(*arguments, **more))

    @contextmanager
    def with_unit(self, *lines, unit=UNIT):
        """Have a drop-in for a unit for a while."""
        path = f"/run/systemd/system/{unit}.d/50-test.conf"
        text = "\n".join(["[Service]", *lines, ""])
        self.machine.run(f"mkdir -p {path.rpartition('/')[0]}; cat > {path}; systemctl daemon-reload", stdin=text)
        try:
            yield
        finally:
            self.machine.run(f"rm {path}; systemctl daemon-reload")

    def forget(self):
        """Stop the keeper and make the host as if it had never run; all faults of AWS are over."""
        self.aws.lift_faults()
        self.machine.run(
            f"systemctl stop {UNIT}; systemctl reset-failed {UNIT} 2>/dev/null; "
            "rm -rf /run/ecrlogind/credentials /run/ecrlogind/status.json /root/.docker /home/*/.docker"
        )
        self.aws.forget_calls()

    def start(self):
        """Start the keeper and wait until it is ready."""
        self.machine.run(f"systemctl start {UNIT}")

    def wait_for_logins(self, *hosts, user="root", deadline=30):
        """Wait until exactly these hosts are logged in to in a user's file."""
        home = "/root" if user == "root" else f"/home/{user}"
        path = f"{home}/.docker/config.json"
        self.machine.wait_for(lambda: set(self.auths(path)) == set(hosts), deadline=deadline)

    def auths(self, path="/root/.docker/config.json"):
        """Return what stands under auths in a file."""
        said = self.machine.run(["cat", path], check=False).stdout
        return json.loads(said).get("auths", {}) if said else {}

    @property
    def status_text(self):
        """What systemd shows as the unit's status."""
        return self.machine.output(f"systemctl show -P StatusText {UNIT}")

    @property
    def pid(self):
        """The keeper's process id."""
        return int(self.machine.output(f"systemctl show -P MainPID {UNIT}"))

    def cursor(self):
        """Mark the journal and return where the mark stands, for `entries`."""
        mark = "systemd-cat --identifier=test-mark echo mark; journalctl --sync"
        said = self.machine.run(f"{mark}; journalctl --identifier=test-mark --lines=1 --show-cursor").stdout
        return said.rpartition("-- cursor: ")[2].strip()

    def entries(self, *matches, since):
        """Return the matching entries after a mark, as journalctl's JSON has them."""
        # Not --after-cursor: it steps over the first that matches where the mark does not.
        command = ["journalctl", "--output=json", "--all", "--cursor", since, *matches]
        self.machine.run("journalctl --sync")
        found = [json.loads(line) for line in self.machine.run(command).stdout.splitlines()]
        return [entry for entry in found if entry["SYSLOG_IDENTIFIER"] != "test-mark"]


@contextmanager
def booted(machines, directory, *, users=("ci",), connected=True):
    """Yield a host that is on."""
    with StandIn(directory) as aws:
        machine = machines.make(hosts=NAMES)
        machine.write("/etc/ecrlogind/ca.pem", aws.ca_file.read_text())
        machine.write("/etc/ecrlogind/config.toml", settings())
        machine.boot()
        host = Booted(machine, aws)
        machine.run("; ".join(f"useradd --create-home {user}" for user in users) or "true")
        if connected:
            host.connect()
        machine.run("systemctl is-system-running --wait", check=False)
        machine.run("systemctl start ecrlogind-issuer.socket")
        yield host
