"""What an operator does to a running keeper, and what the journal says of it, on a booted host."""

import json
import re
import sys
from pathlib import Path

import pytest

from standin import Fault
from tests.support import image
from tests.support.booted import HOST, OTHER, OURS, THIRD, UNIT, booted, settings

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("operations")]  # one machine serves them all

NFT = Path(__file__).parents[2] / "docs" / "imds.nft"
TRY_IMDS = ["python3", "-c", "import socket; socket.create_connection(('169.254.169.254', 80), 5)"]
DENIED = Fault(
    service="ecr",
    region="us-east-1",
    error="AccessDeniedException",
    status=400,
    message="User: arn:aws:sts::111122223333:assumed-role/runner/i-0123456789abcdef0 is not authorized to perform: "
    "ecr:GetAuthorizationToken on resource: * because no identity-based policy allows it",
)
# As the unit has it, but in a hurry.
SWIFT = ("RestartSec=100ms",)


@pytest.fixture(scope="module")
def one(machines_of_module, tmp_path_factory):
    with booted(machines_of_module, tmp_path_factory.mktemp("aws"), users=("ci", "deploy")) as host:
        yield host


@pytest.fixture
def host(one):
    """Yield the host as if the keeper had never run."""
    one.forget()
    one.configure()
    return one


def asked(host):
    """Return how often AWS was asked for something; that a registry was asked whether it takes a login is no matter."""
    return sum(call.service != "registry" for call in host.aws.calls())


def test_the_journal_is_searched_by_registry_and_explains_itself(host):
    since = host.cursor()
    host.configure(["self", OTHER])
    with host.aws.fault(DENIED):
        host.start()
    told = host.entries("-u", UNIT, f"ECRLOGIND_REGISTRY={HOST}", since=since)
    assert [entry["ECRLOGIND_EVENT"] for entry in told] == ["credential.issued", "login.delivered"]
    assert told[1]["MESSAGE"] == f"Login Succeeded: {HOST} in /root/.docker/config.json."
    assert "good for 12h." in told[0]["MESSAGE"]

    [refused] = host.entries("-u", UNIT, f"ECRLOGIND_REGISTRY={OTHER}", since=since)
    assert (refused["ECRLOGIND_CODE"], refused["PRIORITY"]) == ("access_denied", "3")
    assert not [name for entry in [*told, refused] for name in entry if name.startswith("CODE_")]

    explained = host.machine.run(
        ["journalctl", "-x", "--cursor", since, "ECRLOGIND_CODE=access_denied", "--no-pager"]
    ).stdout
    assert "Subject: No credential: access_denied" in explained
    assert "What to do: Allow the action; `ecrlogind policy`" in explained


def test_status_says_how_many_are_in_place_and_what_is_wrong(host):
    host.configure(["self", OTHER])
    with host.aws.fault(DENIED):
        host.start()
        wrong = "222222222222 us-east-1: access denied (ecr:GetAuthorizationToken)"
        assert host.status_text == f"1 of 2 logins in place; {wrong}"


def test_a_typo_makes_a_reload_fail_and_name_the_key_while_the_old_settings_stay(host):
    host.start()
    since = host.cursor()
    host.machine.write("/etc/ecrlogind/config.toml", settings().replace("registries", "registeries"))

    assert host.machine.run("systemctl reload ecrlogind", check=False).returncode != 0

    told = " ".join(entry["MESSAGE"] for entry in host.entries("-u", UNIT, since=since))
    assert "config.toml" in told
    assert "registeries" in told
    assert host.machine.output("systemctl is-active ecrlogind") == "active"
    assert set(host.auths()) == {HOST}


def test_a_reload_adds_a_user_and_takes_a_registry_out(host):
    host.configure(["self", OTHER])
    host.start()
    host.wait_for_logins(HOST, OTHER)
    host.configure(["self"], users=("root", "ci"))

    host.machine.run("systemctl reload ecrlogind")

    host.wait_for_logins(HOST)
    host.wait_for_logins(HOST, user="ci")


def test_a_restart_a_stop_and_an_upgrade_ask_aws_for_nothing_and_keep_what_is_mounted(host):
    newer = image.wheel("9.9.9")
    host.start()
    host.machine.run("mkdir -p /run/ecrlogind/docker")
    before, inode = asked(host), host.machine.output("stat -c %i /run/ecrlogind/docker")

    host.machine.run(f"systemctl restart {UNIT} && systemctl stop {UNIT} && systemctl start {UNIT}")
    host.machine.write(f"/root/{newer.name}", newer.read_bytes())
    host.machine.run(f"/opt/ecrlogind/bin/python -m pip install -q --no-index --no-deps /root/{newer.name}")
    host.machine.run(f"systemctl daemon-reload && systemctl restart {UNIT}")

    host.machine.run(f"{OURS} wait --timeout 10s")
    assert host.machine.output(f"{OURS} --version") == "ecrlogind 9.9.9"
    assert asked(host) == before
    assert host.machine.output("stat -c %i /run/ecrlogind/docker") == inode
    host.machine.run("rm -r /run/ecrlogind/credentials")
    host.machine.run(f"systemctl restart {UNIT}")
    assert asked(host) > before, "the issuer is not reached any more"


def test_a_keeper_that_hangs_is_killed_by_the_watchdog_and_leaves_its_stacks_but_no_secret(host):
    with host.with_unit("WatchdogSec=2s", *SWIFT):
        host.start()
        before, pid, since = asked(host), host.pid, host.cursor()

        host.machine.run(f"kill -STOP {pid}")

        host.machine.wait_for(lambda: host.pid not in (0, pid) and is_active(host), deadline=40)
        assert asked(host) == before
        assert set(host.auths()) == {HOST}
        said = json.dumps(host.entries("-u", UNIT, since=since))
    assert "Fatal Python error: Aborted" in said
    assert "ecrlogind/keeper/daemon.py" in said
    assert "most recent call first" in said
    assert not [secret for secret in host.aws.secrets() if secret in said]


def is_active(host):
    return host.machine.output("systemctl is-active ecrlogind", check=False) == "active"


def test_an_issuer_killed_in_the_middle_of_an_answer_costs_a_try(host):
    since = host.cursor()
    hang = host.aws.fault(Fault(service="ecr", behaviour="drip", interval=60))
    host.machine.run(f"systemctl start --no-block {UNIT}")
    host.aws.wait_for_calls(1, action="GetAuthorizationToken")
    host.machine.run("systemctl kill --signal=KILL 'ecrlogind-issuer@*'")
    hang.lift()

    host.wait_for_logins(HOST)

    [refused] = host.entries("-u", UNIT, "ECRLOGIND_EVENT=credential.refused", since=since)
    assert refused["ECRLOGIND_CODE"] == "issuer_failed"


def test_after_a_kill_a_user_s_status_says_that_nothing_runs_and_while_it_hangs_how_old_its_word_is(host):
    with host.with_unit("Restart=no"):
        host.start()
        status = host.machine.run(f"{OURS} status", user="ci")
        assert "1 of 1 logins in place, as of " in status.stdout
        assert host.machine.run(f"{OURS} status", user="ci").returncode == 0
        host.machine.run(f"kill -STOP {host.pid}")
        # The host's own faketime: ten minutes later.
        later = host.machine.run(f"{faketime('+10m')} {OURS} status", user="ci").stdout
        assert "as of 10min" in later
        assert "has said nothing since" in later
        host.machine.run(f"kill -KILL {host.pid}")
        host.machine.wait_for("systemctl is-failed ecrlogind")

        assert host.machine.run(f"{OURS} status", user="ci", check=False).returncode == 3


def faketime(offset):
    return f"env LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1) FAKETIME={offset}"


def test_stopping_logs_out_where_the_settings_say_so(host):
    host.configure(users=("root", "ci"), extra="[stop]\nlogout = true")
    host.start()
    host.wait_for_logins(HOST, user="ci")

    host.machine.run(f"systemctl stop {UNIT}")

    assert host.auths() == host.auths("/home/ci/.docker/config.json") == {}
    assert host.machine.output("find /run/ecrlogind/credentials /run/ecrlogind/answers -type f") == ""


def test_it_asks_at_once_and_stops_at_once_also_in_the_middle_of_a_pass(host, capfd):
    with host.aws.fault(Fault(service="ecr", behaviour="hang")):
        host.machine.run(f"systemctl start --no-block {UNIT}")
        host.aws.wait_for_calls(1, action="GetAuthorizationToken")
        started, asked = (
            int(host.machine.output(f"systemctl show -P ExecMainStartTimestampMonotonic {unit}"))
            for unit in (UNIT, "'ecrlogind-issuer@*'")
        )
        told, stopped = host.machine.output(f"cat /proc/uptime; systemctl stop {UNIT}; cat /proc/uptime").splitlines()

    # Nothing had to be killed.
    assert host.machine.settings_of(UNIT, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    to_ask, to_stop = (asked - started) / 1e6, float(stopped.split()[0]) - float(told.split()[0])
    with capfd.disabled():
        sys.stderr.write(f"from start to asking {to_ask:.2f} s, to stop in the middle of a pass {to_stop:.2f} s\n")
    # On a quiet machine 0.2 s and 0.1 s. Whatever waits for something takes seconds: a pass, a deadline, a tick.
    assert to_ask < 3
    assert to_stop < 3


def test_a_journal_that_goes_away_costs_lines_and_nothing_else(host):
    host.start()
    pid = host.pid
    host.machine.run("systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service")
    host.configure(["self", OTHER])
    host.machine.run("systemctl reload ecrlogind")
    host.wait_for_logins(HOST, OTHER)
    host.machine.run("systemctl start systemd-journald.service")
    host.configure(["self", OTHER, THIRD])
    host.machine.run("systemctl reload ecrlogind")

    host.wait_for_logins(HOST, OTHER, THIRD)

    host.machine.wait_for(f"journalctl _PID={pid} ECRLOGIND_REGISTRY={THIRD} ECRLOGIND_EVENT=login.delivered")
    assert host.pid == pid


@pytest.mark.parametrize("where", ["append:/var/log/ecrlogind.log", "journal+console"])
def test_plain_dated_lines_go_wherever_the_unit_sends_them(host, where):
    host.configure(extra='log = "stderr"')
    since = host.cursor()
    host.machine.run("rm -f /var/log/ecrlogind.log")
    with host.with_unit(f"StandardOutput={where}"):
        host.start()
        if where.startswith("append:"):
            lines = host.machine.read("/var/log/ecrlogind.log").splitlines()
        else:
            lines = [entry["MESSAGE"] for entry in host.entries("-t", "ecrlogind", since=since)]

    dated = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|NOTICE|WARNING|ERROR) +[a-z]+\.[a-z]+ ")
    assert [line for line in lines if not dated.match(line)] == []
    assert any(f"Login Succeeded: {HOST}" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_with_the_firewall_example_only_the_issuer_and_root_reach_imds(host):
    host.machine.write("/etc/nftables.d/ecrlogind-imds.nft", NFT.read_text())
    host.machine.run("nft -f /etc/nftables.d/ecrlogind-imds.nft")
    try:
        assert host.machine.run(TRY_IMDS, user="ci", check=False).returncode == 1
        assert host.machine.run(TRY_IMDS).returncode == 0
        host.start()
        host.wait_for_logins(HOST)
    finally:
        host.machine.run("nft flush ruleset")
    assert host.machine.run(TRY_IMDS, user="ci").returncode == 0
