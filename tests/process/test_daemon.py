"""The daemon as a process: from start to logged in, through refusals, reloads and restarts."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from standin import Fault
from tests.support.keeper import until

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "222222222222.dkr.ecr.us-east-1.amazonaws.com"
THIRD = "333333333333.dkr.ecr.ap-southeast-2.amazonaws.com"
PUBLIC = "public.ecr.aws"


def test_it_logs_in_says_so_and_stops(keeper, aws):
    keeper.write_settings(["self", OTHER, PUBLIC])

    with keeper.running():
        assert keeper.run("wait", "--timeout", "30s").returncode == 0
        status = keeper.run("status")
        assert status.returncode == 0
        assert "healthy" in status.stdout
        assert set(keeper.auths()) == {OWN, OTHER, PUBLIC}
        assert all(aws.accepts(host, keeper.password(host)) for host in (OWN, OTHER, PUBLIC))
        assert keeper.stop() == 0

    assert keeper.run("status").returncode == 3


def test_one_denied_of_three_leaves_the_others_in_place_and_follows_when_allowed(keeper, aws):
    keeper.write_settings(["self", OTHER, THIRD])
    denial = aws.fault(Fault(service="ecr", region="us-east-1", error="AccessDeniedException", status=400))

    with keeper.running():
        keeper.wait_for(states={"self": "in_place", OTHER: "failed", THIRD: "in_place"})
        status = keeper.run("status")
        assert status.returncode == 1
        [login] = [each for each in keeper.document["logins"] if each["state"] == "failed"]
        assert login["host"] == OTHER
        assert login["error"]["code"] == "access_denied"
        assert login["error"]["message"] in status.stdout
        assert login["error"]["hint"] in status.stdout
        denial.lift()
        keeper.wait_for(states={"self": "in_place", OTHER: "in_place", THIRD: "in_place"})


def test_ten_registries_in_one_region_make_one_call_and_two_identities_in_two_regions_four(keeper, aws):
    many = [f"{number:012d}.dkr.ecr.eu-west-1.amazonaws.com" for number in range(10)]
    keeper.write_settings(many)
    assert keeper.run("login").returncode == 0
    assert len(aws.calls(action="GetAuthorizationToken")) == 1

    aws.world.calls.forget()
    roles = [f"arn:aws:iam::{account}:role/pull" for account in ("444455556666", "777788889999")]
    keeper.write_settings(
        [
            {"host": f"{role[13:25]}.dkr.ecr.{region}.amazonaws.com", "role_arn": role}
            for role in roles
            for region in ("eu-west-1", "us-east-1")
        ]
    )
    assert keeper.run("login").returncode == 0
    calls = aws.calls(action="GetAuthorizationToken")
    assert len(calls) == 4
    assert {(call.role, call.region) for call in calls} == {
        (role, region) for role in roles for region in ("eu-west-1", "us-east-1")
    }
    assert len(aws.calls(action="AssumeRole")) == 2


def test_it_renews_and_keeps_what_else_stands_in_the_file(keeper, aws):
    aws.world.lifetime = 4
    keeper.write_settings(["self"])
    keeper.destination().parent.mkdir()
    foreign = '{\n  "auths": { "quay.io": {"auth": "bWU6bWU="} },\n  "x": 1e400\n}\n'
    keeper.destination().write_text(foreign)

    with keeper.running():
        first = until(lambda: keeper.password(OWN), "the first login")
        until(lambda: keeper.password(OWN) not in (None, first), "a renewal")

    text = keeper.destination().read_text()
    assert '"quay.io": {"auth": "bWU6bWU="}' in text
    assert '"x": 1e400' in text


def test_without_its_scheduler_nothing_is_asked_and_nothing_renews(keeper, aws):
    idle = keeper.directory / "idle.py"
    idle.write_text(
        "import sys\n"
        "from apscheduler.schedulers.background import BackgroundScheduler\n"
        "BackgroundScheduler._process_jobs = lambda self: 3600\n"
        "from ecrlogind.cli import main\n"
        "sys.exit(main())\n"
    )
    keeper.write_settings(["self"])
    keeper.environment["PYTHONPATH"] = os.getcwd()
    keeper.program, usual = [keeper.program[0], str(idle)], keeper.program
    with keeper.running():
        until((keeper.state / "control.sock").exists, "the daemon")
        keeper.program = usual
        assert keeper.run("wait", "--timeout", "2s").returncode == 3
        assert keeper.stop() == 0

    assert aws.calls() == []


def test_a_restart_asks_aws_for_nothing_that_is_still_good(keeper, aws):
    keeper.write_settings(["self", OTHER])
    with keeper.running():
        keeper.wait_for(states={"self": "in_place", OTHER: "in_place"})
        keeper.stop()
    asked = len(aws.calls())

    with keeper.running():
        until(lambda: (keeper.document or {}).get("pid") == keeper.process.pid, "the new keeper's status")
        keeper.wait_for(states={"self": "in_place", OTHER: "in_place"})

    assert len(aws.calls()) == asked


# Runs a command and says, in order, which module became a child and when the settings were opened.
TOLD = """
import sys
def tell(event, arguments):
    if event == "subprocess.Popen":
        print(arguments[1][-1], file=sys.stderr)
    if event == "open" and str(arguments[0]).endswith("config.toml"):
        print("settings", file=sys.stderr)
sys.addaudithook(tell)
from ecrlogind.cli import main
sys.exit(main())
"""


def test_the_issuer_loads_while_the_keeper_does_and_a_courier_while_aws_is_asked(keeper):
    keeper.write_settings(["self"])
    keeper.program = [keeper.program[0], "-c", TOLD]

    first, again = keeper.run("login"), keeper.run("login")

    assert (first.returncode, again.returncode) == (0, 0)
    words = ("ecrlogind.issuer", "settings", "ecrlogind.courier", "credential.issued")
    assert re.findall("|".join(words), first.stderr)[:4] == list(words)  # a courier, too, is there before it is needed
    assert "ecrlogind.issuer" not in again.stderr.split()


def test_what_is_held_is_for_its_keeper_alone(keeper):
    keeper.write_settings(["self"])
    assert keeper.run("login").returncode == 0

    held = keeper.state / "credentials"
    assert held.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in held.iterdir()} == {0o600}
    assert (keeper.state / "status.json").stat().st_mode & 0o777 == 0o644
    assert keeper.destination().stat().st_mode & 0o777 == 0o600


def test_login_beside_a_keeper_asks_that_one(keeper, aws):
    keeper.write_settings(["self", OTHER])
    denial = aws.fault(Fault(service="ecr", region="us-east-1", error="AccessDeniedException", status=400))
    with keeper.running():
        keeper.wait_for(states={"self": "in_place", OTHER: "failed"})
        assert keeper.run("login").returncode == 1
        denial.lift()
        login = keeper.run("login")
        assert login.returncode == 0, login.stderr
        assert "in_place" in login.stdout
        assert keeper.document["pid"] == keeper.process.pid

        keeper.write_settings(["self"])
        other = keeper.run("login")
        assert other.returncode == 1
        assert "other settings" in other.stderr


def test_a_reload_adds_and_takes_out_and_a_bad_one_changes_nothing(keeper):
    keeper.write_settings(["self", OTHER])
    with keeper.running():
        keeper.wait_for(states={"self": "in_place", OTHER: "in_place"})
        keeper.write_settings(["self", THIRD])
        keeper.process.send_signal(signal.SIGHUP)
        keeper.wait_for(states={"self": "in_place", THIRD: "in_place"})
        until(lambda: set(keeper.auths()) == {OWN, THIRD}, "the old login, taken out")

        keeper.config.write_text(keeper.config.read_text().replace("registries", "registeries"))
        keeper.process.send_signal(signal.SIGHUP)
        until(lambda: keeper.document["problem"], "the problem in the status")
        assert keeper.document["problem"]["code"] == "bad_settings"
        assert set(keeper.auths()) == {OWN, THIRD}
        assert keeper.run("status").returncode == 1

        keeper.write_settings(["self", THIRD])
        keeper.process.send_signal(signal.SIGHUP)
        until(lambda: keeper.document["problem"] is None, "the end of the problem")


def test_logout_takes_out_our_logins_and_only_ours(keeper):
    keeper.write_settings(["self", OTHER])
    keeper.destination().parent.mkdir()
    keeper.destination().write_text('{"auths": {"quay.io": {"auth": "bWU6bWU="}}}')
    with keeper.running():
        keeper.wait_for(states={"self": "in_place", OTHER: "in_place"})
        refused = keeper.run("logout")
        assert refused.returncode == 1
        assert "a keeper runs" in refused.stderr
        keeper.stop()

    out = keeper.run("logout")

    assert out.returncode == 0, out.stderr
    assert json.loads(keeper.destination().read_text()) == {"auths": {"quay.io": {"auth": "bWU6bWU="}}}
    assert list((keeper.state / "credentials").iterdir()) == []


def test_stopping_logs_out_only_where_the_settings_say_so(keeper):
    keeper.write_settings(["self"], stop={"logout": True})
    with keeper.running():
        keeper.wait_for(states={"self": "in_place"})
        assert keeper.stop() == 0

    assert keeper.auths() == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_even_while_aws_hangs(keeper, aws, number):
    keeper.write_settings(["self"])
    with aws.fault(Fault(service="ecr", behaviour="hang")), keeper.running():
        aws.wait_for_calls(1, action="GetAuthorizationToken")
        assert keeper.stop(number) == 0


def test_it_stops_without_waiting_for_a_courier_that_waits_for_a_writer(keeper):
    keeper.write_settings(["self"])
    path = keeper.destination()
    path.parent.mkdir()
    path.write_text("{}")
    with path.open("r+"), keeper.running():
        until(lambda: keeper.password(OWN), "the swap, after which the courier waits")
        asked = time.monotonic()
        assert keeper.stop() == 0
        # The courier itself would wait for ten seconds.
        assert time.monotonic() - asked < 8


def test_a_hung_region_holds_up_no_login_of_the_others(keeper, aws):
    keeper.write_settings(["self", OTHER])
    with aws.fault(Fault(service="ecr", region="us-east-1", behaviour="hang")), keeper.running():
        until(lambda: keeper.password(OWN), "the login of the region that answers", 10)
        assert keeper.states()[OTHER] == "pending"


def test_readiness_is_told_to_systemd_once_it_is_settled(keeper, notify_socket):
    keeper.write_settings(["self"])
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path

    with keeper.running():
        said = notify_socket.read_until(b"READY=1")
        # Half of twelve hours, less a jitter of up to a tenth of them.
        assert re.search(rb"STATUS=1 of 1 logins in place; next renewal in [45]h \d+min\n", said)
        assert b"WATCHDOG=1" in said
        keeper.process.send_signal(signal.SIGHUP)
        assert b"MONOTONIC_USEC=" in notify_socket.read_until(b"RELOADING=1")
        notify_socket.read_until(b"READY=1")
        keeper.process.send_signal(signal.SIGTERM)
        notify_socket.read_until(b"STOPPING=1")


def test_while_aws_is_away_the_start_is_extended_and_not_ready(keeper, aws, notify_socket):
    keeper.write_settings(["self"])
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path
    outage = aws.fault(Fault(service="ecr", error="ServerException", status=500))

    with keeper.running():
        said = notify_socket.read_until(b"service_error", b"EXTEND_TIMEOUT_USEC=", b"no_such_word", patience=3)
        assert b"EXTEND_TIMEOUT_USEC=" in said
        assert b"READY=1" not in said
        outage.lift()
        notify_socket.read_until(b"READY=1")


def test_a_refusal_that_waiting_cannot_cure_lets_the_start_go_on(keeper, aws, notify_socket):
    keeper.write_settings(["self", OTHER])
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path

    with aws.fault(Fault(service="ecr", region="us-east-1", error="AccessDeniedException", status=400)):
        with keeper.running():
            assert b"1 of 2 logins in place" in notify_socket.read_until(b"READY=1")


def test_ready_all_fails_the_start_at_the_timeout(keeper, aws):
    keeper.write_settings(["self", OTHER], boot={"ready": "all", "timeout": "2s"})

    with aws.fault(Fault(service="ecr", region="us-east-1", error="AccessDeniedException", status=400)):
        keeper.start()
        assert keeper.process.wait(30) == 1


def test_the_keeper_stays_small_since_boto3_lives_elsewhere(keeper):
    keeper.write_settings(["self"])
    with keeper.running():
        keeper.wait_for(states={"self": "in_place"})
        with open(f"/proc/{keeper.process.pid}/smaps_rollup") as file:
            pss = next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        assert pss < 32_000


def test_the_keeper_loads_no_tls_no_event_loop_and_no_process_pools(keeper):
    keeper.write_settings(["self"])
    with keeper.running():
        keeper.wait_for(states={"self": "in_place"})
        with open(f"/proc/{keeper.process.pid}/maps") as file:
            loaded = file.read()
    assert "_datetime" in loaded  # so this is how a module would be seen
    assert not [name for name in ("_ssl", "_asyncio", "_multiprocessing", "_queue") if f"/{name}." in loaded]


def test_status_and_wait_import_neither_boto3_nor_apscheduler(keeper):
    keeper.write_settings(["self"])
    keeper.run("login")
    for command in (["status"], ["wait", "--timeout", "100ms"]):
        code = f"import sys; from ecrlogind.cli import main; main({command!r}); print(sorted(sys.modules))"
        run = subprocess.run(
            [keeper.program[0], "-c", code], env=keeper.environment, capture_output=True, text=True, check=True
        )
        assert not {"boto3", "botocore", "apscheduler", "structlog", "asyncio"} & set(eval(run.stdout.splitlines()[-1]))


def test_wait_started_before_the_daemon_waits_for_it(keeper):
    keeper.write_settings(["self"])
    waiting = subprocess.Popen(
        [*keeper.program, "wait", "--timeout", "30s", OWN], env=keeper.environment, stdin=subprocess.DEVNULL
    )
    with keeper.running():
        assert waiting.wait(30) == 0
        assert keeper.password(OWN)


def test_wait_says_when_nothing_runs_and_when_it_is_not_in_time(keeper, aws):
    keeper.write_settings(["self", OTHER])
    absent = keeper.run("wait", "--timeout", "200ms")
    assert absent.returncode == 3
    assert "not running after 200ms" in absent.stderr
    with aws.fault(Fault(service="ecr", region="us-east-1", error="AccessDeniedException", status=400)):
        with keeper.running():
            keeper.wait_for(states={"self": "in_place", OTHER: "failed"})
            assert keeper.run("wait", "--timeout", "5s", OWN).returncode == 0
            late = keeper.run("wait", "--timeout", "300ms", OTHER)
            strange = keeper.run("wait", "--timeout", "300ms", "no.such.host")
    assert late.returncode == 1
    assert "access_denied" in late.stdout
    assert strange.returncode == 1
    assert "nothing logs in to no.such.host" in strange.stderr


def test_after_a_kill_status_says_that_nothing_runs(keeper):
    keeper.write_settings(["self"])
    with keeper.running():
        keeper.wait_for(states={"self": "in_place"})
        keeper.process.send_signal(signal.SIGKILL)
        keeper.process.wait()
        assert keeper.run("status").returncode == 3
        assert "not running" in keeper.run("status").stdout
