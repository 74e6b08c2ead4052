"""What units that wait for the logins see, when not all is well: the table in docs/boot.md, cell by cell."""

import json

import pytest

from standin import Fault
from tests.support.booted import CA, HOST, OTHER, OURS, THIRD, booted

# One machine serves them all.
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("gates"), pytest.mark.timeout(200)]

POLICIES = ("all", "settled", "immediately")
TIMEOUT = 10
# What cannot be read cannot say how long to wait.
TIMEOUT_OF_BAD = 60
HELD_UP = ("all-denied", "all-down", "settled-down")
REGISTRIES = {"denied": [HOST, OTHER], "down": [THIRD], "bad": [HOST], "mended": [HOST]}

# As the one that is shipped, but for its settings and its state; it is not to start again, so that we see how it ended.
KEEPER = """
[Service]
RuntimeDirectory=
RuntimeDirectory=keeper-{cell}
Environment=ECRLOGIND_STATE=/run/keeper-{cell} ECRLOGIND_CONFIG=/etc/keeper-{cell}/config.toml
RestartSec=1h
"""
SETTINGS = """
registries = {registries}
destinations = [{{ path = "/var/lib/cells/{cell}/config.json" }}]
{typo}
[boot]
ready = "{policy}"
timeout = "{timeout}s"
[check]
registry = false
{ca}"""
# What systemd/runner.conf adds to the unit of a runner; the runner keeps what it sees when it starts.
RUNNER = """
[Unit]
Wants=keeper-{cell}.service
After=keeper-{cell}.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/bin/cp /var/lib/cells/{cell}/config.json /var/lib/cells/{cell}/seen
ExecStart=/bin/sh -c 'systemctl show -P ActiveState keeper-{cell} > /var/lib/cells/{cell}/keeper'
"""
# The same for those who want no job without logins: it names the hosts that it must have.
STRICT = """
[Unit]
Wants=keeper-{cell}.service
After=keeper-{cell}.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStartPre={ours} wait --state /run/keeper-{cell} --timeout 1s {hosts}
ExecStart=/bin/true
"""


@pytest.fixture(scope="module")
def host(machines_of_module, tmp_path_factory):
    with booted(machines_of_module, tmp_path_factory.mktemp("aws")) as host:
        host.aws.fault(Fault(service="ecr", region="us-east-1", error="AccessDeniedException", status=400))
        host.aws.fault(Fault(service="ecr", region="ap-southeast-2", error="ServerException", status=500))
        # Those that wait until a timeout do so while the others are tried.
        for cell in ("all-bad", "settled-bad", "immediately-bad", *HELD_UP):
            Cell(host, cell).start()
        yield host


class Cell:
    """One keeper and those who wait for it."""

    def __init__(self, host, name):
        self.machine = host.machine
        self.name = name

    def start(self, timeout=TIMEOUT):
        policy, _, trouble = self.name.partition("-")
        registries = REGISTRIES[trouble]
        typo = 'logg = "journal"' if trouble in ("bad", "mended") else ""
        text = SETTINGS.format(
            registries=json.dumps(registries), cell=self.name, policy=policy, timeout=timeout, ca=CA, typo=typo
        )
        units, hosts = "/etc/systemd/system", " ".join(registries)
        self.machine.write(f"/etc/keeper-{self.name}/config.toml", text)
        self.machine.write(f"{units}/keeper-{self.name}.service.d/50-test.conf", KEEPER.format(cell=self.name))
        self.machine.write(f"{units}/runner-{self.name}.service", RUNNER.format(cell=self.name))
        self.machine.write(f"{units}/strict-{self.name}.service", STRICT.format(cell=self.name, ours=OURS, hosts=hosts))
        copy = f"cp /usr/lib/systemd/system/ecrlogind.service {units}/keeper-{self.name}.service"
        self.machine.run(f"mkdir -p /var/lib/cells/{self.name}; {copy}; systemctl daemon-reload")
        self.machine.run(f"systemctl start --no-block runner-{self.name} strict-{self.name}")

    @property
    def keeper(self):
        return self.machine.settings_of(f"keeper-{self.name}", "ActiveState", "ExecMainStatus", "StatusText")

    def runner_sees(self):
        """Wait for the runner to start; return the state of the keeper and the logins that it found then."""
        self.machine.wait_for(f"systemctl is-active runner-{self.name}", deadline=TIMEOUT_OF_BAD + 60)
        logins = self.machine.run(f"cat /var/lib/cells/{self.name}/seen", check=False).stdout
        return self.machine.read(f"/var/lib/cells/{self.name}/keeper").strip(), set(
            json.loads(logins or '{"auths":{}}')["auths"]
        )

    def held_up(self):
        """Return how long, in seconds, the keeper's start held the runner up."""
        started = self.machine.settings_of(f"keeper-{self.name}", "ExecMainStartTimestampMonotonic")
        opened = self.machine.settings_of(f"runner-{self.name}", "InactiveExitTimestampMonotonic")
        return (int(*opened.values()) - int(*started.values())) / 1e6

    def strict_runner_starts(self):
        unit = f"strict-{self.name}"
        self.machine.wait_for(f"systemctl is-active {unit} || systemctl is-failed {unit}", deadline=TIMEOUT_OF_BAD + 60)
        return self.machine.output(f"systemctl is-active {unit}", check=False) == "active"


# A keeper that is to be started again is, between the two, neither active nor failed.
GAVE_UP = "activating"


@pytest.mark.parametrize(
    ("cell", "keeper", "logins"),
    [
        ("all-denied", GAVE_UP, {HOST}),
        ("all-down", GAVE_UP, set()),
        ("settled-denied", "active", {HOST}),
        ("settled-down", "active", set()),
        ("immediately-denied", "active", None),
        ("immediately-down", "active", set()),
    ],
)
def test_what_a_runner_sees(host, cell, keeper, logins):
    cell = Cell(host, cell)
    if cell.name not in HELD_UP:
        cell.start(60)

    state, found = cell.runner_sees()

    assert state == keeper
    # Started at once, it may come before the logins or after them.
    assert found == logins if logins is not None else found <= {HOST}
    if cell.name in HELD_UP:
        assert cell.held_up() >= TIMEOUT
    if keeper == GAVE_UP:
        assert cell.keeper["ExecMainStatus"] == "1"
    assert not cell.strict_runner_starts()


@pytest.mark.parametrize("policy", POLICIES)
def test_with_bad_settings_the_gate_holds_until_the_timeout_and_the_journal_is_not_flooded(host, policy):
    cell = Cell(host, f"{policy}-bad")
    machine = host.machine
    machine.wait_for(f"systemctl show -P StatusText keeper-{cell.name} | grep -q 'logg'")

    state, found = cell.runner_sees()

    assert (state, found) == (GAVE_UP, set())
    assert cell.held_up() >= TIMEOUT_OF_BAD
    assert cell.keeper["ExecMainStatus"] == "78"
    assert not cell.strict_runner_starts()
    [told] = machine.output(f"journalctl -u keeper-{cell.name} ECRLOGIND_EVENT=settings.refused -o cat").splitlines()
    assert "logg" in told
    assert len(machine.journal("-u", f"keeper-{cell.name}", "-o", "cat").splitlines()) < 10


def test_mending_the_settings_lets_the_boot_go_on(host):
    cell = Cell(host, "settled-mended")
    cell.start(60)
    config = f"/etc/keeper-{cell.name}/config.toml"
    host.machine.wait_for(f"systemctl show -P StatusText keeper-{cell.name} | grep 'bad settings: .*config.toml.*logg'")
    assert host.machine.output(f"systemctl is-active runner-{cell.name}", check=False) == "inactive"

    host.machine.run(f"sed -i /^logg/d {config}")

    assert cell.runner_sees() == ("active", {HOST})
