"""The process itself: what comes in, what goes out, what nobody else gets to see."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from ecrlogind.core.codec import encode
from ecrlogind.core.credential import Secret
from ecrlogind.core.identity import Identity
from ecrlogind.core.wire import Call, Instance, Issued, NoInstance, Probe, Probed, Refused, decode_answer
from standin import Fault
from tests.support.keeper import until
from tests.support.need import need
from tests.support.processes import state_of

from .conftest import COMMAND, EU, RUN, US, Issuer

LONGER = timedelta(seconds=5)
CI = "arn:aws:iam::222233334444:role/ci"


def test_each_answer_is_a_line_that_waits_for_no_other(host):
    with host.aws.fault(Fault(service="ecr", region="eu-west-1", behaviour="hang")) as fault:
        issuer = Issuer(host.question(EU, US))
        assert isinstance(issuer.next(), Issued)
        assert issuer.process.poll() is None
        fault.lift()
        answers, stderr = issuer.rest()

    assert len(answers) == 1
    assert (issuer.process.returncode, stderr) == (0, "")


def test_one_that_was_sent_for_and_is_not_asked_goes_without_a_word():
    done = subprocess.run(COMMAND, input=b"", capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_an_identity_that_hangs_holds_up_its_own_calls_alone(host):
    role = Identity(roles=(CI,))
    with host.aws.fault(Fault(service="sts", behaviour="hang")):
        issuer = Issuer(host.question(Call(role, "eu-west-1"), Call(role, "us-east-1"), EU, US, deadline=LONGER))
        assert {issuer.next().call, issuer.next().call} == {EU, US}
        answers, _ = issuer.rest()

    assert {each.refusal.code for each in answers} == {"deadline"}
    assert len(answers) == 2


def test_a_hundred_calls_are_answered(host):
    roles = [Identity(roles=(f"arn:aws:iam::222233334444:role/r{number}",)) for number in range(50)]
    calls = [Call(role, region) for role in roles for region in ("eu-west-1", "us-east-1")]

    issued = host.issued(*calls, deadline=timedelta(seconds=60))

    assert {each.call for each in issued} == set(calls)
    assert len(host.aws.calls(service="sts")) == 50


def test_calls_that_no_thread_is_left_for_are_made_by_those_that_run(host):
    need(shutil.which("strace"), "strace")
    roles = [Identity(roles=(f"arn:aws:iam::222233334444:role/r{number}",)) for number in range(8)]
    calls = [Call(role, "eu-west-1") for role in roles]
    no_more = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=clone,clone3:error=EAGAIN:when=4+"]

    answers, stderr = Issuer(host.question(*calls, deadline=timedelta(seconds=60)), [*no_more, *COMMAND]).rest()

    assert stderr == ""
    assert {each.call for each in answers if isinstance(each, Issued)} == set(calls), answers


def test_what_hangs_where_no_socket_can_be_closed_is_answered_for(host):
    # A resolver that does not answer cannot be interrupted.
    stuck = "import runpy, socket, time; socket.getaddrinfo = lambda *_, **__: time.sleep(600)\n"
    question = host.question(
        EU,
        Call(Identity(), "self"),
        instance=True,
        environment=host.keys(),
        probes=(Probe("public.ecr.aws", "AWS", Secret("x"), tag="t"),),
        deadline=timedelta(seconds=1),
    )

    issuer = Issuer(question, [sys.executable, "-I", "-c", stuck + RUN])
    answers, stderr = issuer.rest()

    assert {type(each): each.refusal.code for each in answers if not isinstance(each, Refused)} == {
        NoInstance: "imds_unreachable",
        Probed: "deadline",
    }
    assert {each.call.region: each.refusal.code for each in answers if isinstance(each, Refused)} == {
        "eu-west-1": "dns",
        "self": "deadline",
    }
    assert (issuer.process.returncode, stderr) == (0, "")


def test_a_credential_process_that_hangs_is_ended_with_all_it_started(host, tmp_path):
    pids = tmp_path / "pids"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $$ >> {pids}\nsleep 600 & echo $! >> {pids}\nwait\n")
    program.chmod(0o755)

    refusal = host.refusal(
        deadline=timedelta(seconds=3), files={"AWS_CONFIG_FILE": f"[default]\ncredential_process = {program}\n"}
    )

    assert refusal.code == "deadline"
    for pid in pids.read_text().split():
        # Its parent is gone: it is a zombie until whoever inherits it looks, if not gone already.
        until(lambda pid=pid: state_of(pid) in "ZX", f"the end of {pid}")


def test_one_connected_socket_serves_for_question_and_answers(host):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(COMMAND, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env={})
        theirs.close()
        ours.sendall(encode(host.question(EU)))
        ours.settimeout(30)
        answers = [decode_answer(line) for line in ours.makefile("rb")]

    assert [type(each) for each in answers] == [Issued]
    assert (process.wait(30), process.stderr.read()) == (0, b"")
    process.stderr.close()


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b'{"calls": "canary"}\n', b"canary", b"x" * 9_000_000 + b"\n"])
def test_what_is_no_question_is_no_question_and_is_not_quoted(line):
    process = subprocess.run(COMMAND, input=line, capture_output=True, env={}, check=False)

    assert process.returncode == 1
    assert process.stdout == b""
    assert process.stderr == b"ecrlogind.issuer: what came on fd 0 is not a question\n"


def test_a_question_of_nothing_is_answered_with_nothing(host):
    issuer = Issuer(host.question())
    assert issuer.rest() == ([], "")
    assert issuer.process.returncode == 0


def test_a_bug_costs_its_own_call_and_tells_its_kind_and_place_but_no_value(host):
    broken = (
        "import runpy, ecrlogind.issuer.signs as signs\n"
        "def endpoint(self, call): raise KeyError('canary' + call.region)\n"
        "signs.Signs.endpoint = endpoint\n"
    )
    question = host.question(EU, environment=host.keys(), instance=True)

    issuer = Issuer(question, [sys.executable, "-I", "-c", broken + RUN])
    answers, stderr = issuer.rest()

    assert [type(each) for each in answers] == [Instance]
    assert issuer.process.returncode == 1
    assert stderr.startswith("ecrlogind.issuer: KeyError at ")
    assert "canary" not in stderr
    assert stderr.count("\n") == 1


def test_no_memory_costs_the_call_not_the_host(host):
    hungry = (
        "import runpy, ecrlogind.issuer.signs as signs\n"
        "def endpoint(self, call): return len(bytearray(2 << 30))\n"
        "signs.Signs.endpoint = endpoint\n"
    )

    issuer = Issuer(host.question(EU, environment=host.keys()), [sys.executable, "-I", "-c", hungry + RUN])
    answers, stderr = issuer.rest()

    assert (answers, issuer.process.returncode) == ([], 1)
    assert stderr.startswith("ecrlogind.issuer: MemoryError at ")


def test_a_keeper_that_has_gone_ends_the_issuer(host):
    ours, theirs = socket.socketpair()
    with host.aws.fault(Fault(service="ecr", behaviour="hang")) as fault:
        process = subprocess.Popen(COMMAND, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env={})
        theirs.close()
        ours.sendall(encode(host.question(EU)))
        host.aws.wait_for_calls(1, service="ecr")
        ours.close()
        fault.lift()
        stderr = process.communicate(timeout=30)[1].decode()

    assert process.returncode == 1
    assert stderr.startswith("ecrlogind.issuer: BrokenPipeError at ")


def test_no_secret_is_in_the_environment_or_the_arguments(host):
    keys = host.keys()
    with host.aws.fault(Fault(service="ecr", behaviour="hang")) as fault:
        issuer = Issuer(host.question(EU, environment=keys, files={"AWS_CONFIG_FILE": "[default]\nregion = x-canary"}))
        host.aws.wait_for_calls(1, service="ecr")
        proc = Path(f"/proc/{issuer.process.pid}")
        shown = (proc / "environ").read_bytes() + (proc / "cmdline").read_bytes()
        limits = (proc / "limits").read_text()
        streams = [os.readlink(proc / "fd" / str(number)) for number in (0, 1, 2)]
        fault.lift()
        issuer.rest()

    assert keys["AWS_SECRET_ACCESS_KEY"].encode() not in shown
    assert b"canary" not in shown
    assert f"Max data size             {1 << 30}" in limits
    assert "Max core file size        0 " in limits
    assert streams[0] == "/dev/null"
    assert streams[1] == streams[2], "what a library prints goes where errors go"


def test_programs_are_started_without_keys_in_environment_or_arguments(host, tmp_path):
    seen = tmp_path / "seen"
    keys = host.keys()
    program = tmp_path / "program"
    program.write_text(
        "#!/bin/sh\n"
        f"for file in environ cmdline; do tr '\\0' '\\n' < /proc/$$/$file; done > {seen}\n"
        f"ls -l /proc/$$/fd >> {seen}\n"
        f"""echo '{{"Version": 1, "AccessKeyId": "{keys["AWS_ACCESS_KEY_ID"]}","""
        f""" "SecretAccessKey": "{keys["AWS_SECRET_ACCESS_KEY"]}"}}'\n"""
    )
    program.chmod(0o755)

    host.issued(
        Call(Identity(profile="ci"), "eu-west-1"),
        environment=host.keys("999988887777") | {"AWS_SESSION_TOKEN": "canary-token"},
        files={"AWS_CONFIG_FILE": f"[profile ci]\ncredential_process = {program}\n"},
    )

    text = seen.read_text()
    assert "AWS_CONFIG_FILE=/proc/self/fd/" in text
    assert "canary-token" not in text
    for secret in host.aws.secrets():
        assert secret not in text
    assert "socket:" not in text


def test_nothing_is_read_from_any_home(host, tmp_path):
    strace = ["strace", "-f", "-qq", "-e", "trace=%file", "-o", str(tmp_path / "trace")]
    need(subprocess.run(["strace", "-V"], capture_output=True, check=False).returncode == 0, "strace")

    answers, _ = Issuer(host.question(EU, Call(Identity(roles=(CI,)), "eu-west-1")), [*strace, *COMMAND]).rest()

    assert [type(each) for each in answers] == [Issued, Issued]
    trace = (tmp_path / "trace").read_text()
    home = pwd.getpwuid(os.getuid()).pw_dir
    assert f"{home}/.aws" not in trace
    assert f"{home}/.boto" not in trace
    assert "boto.cfg" not in trace
    assert trace.count("openat(") < 900, "botocore's 400 folders are not listed"


def test_the_environment_s_other_wishes_do_not_hold(host, tmp_path):
    (tmp_path / "models").mkdir()
    environment = {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": host.aws.endpoints["imds"],
        "AWS_DEFAULTS_MODE": "auto",
        "AWS_DATA_PATH": str(tmp_path / "models"),
        "AWS_MAX_ATTEMPTS": "5",
        "AWS_CREDENTIAL_FILE": "/etc/passwd",
    }

    host.issued(EU, environment=environment)
    with host.aws.fault(Fault(service="ecr", error="ThrottlingException")):
        host.refusal(EU, environment=environment)

    assert {call.action for call in host.aws.calls(service="imds")} == {"token", "role", "credentials", "document"}
    assert len(host.aws.calls(service="ecr")) == 2


def test_the_issuer_s_own_user_can_do_all_of_it(host):
    need(os.geteuid() == 0, "root")
    site = Path(next(path for path in sys.path if path.endswith("site-packages")))
    repo = Path(__file__).parents[2]
    as_nobody = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}
    reads = ["/usr/bin/python3", "-I", "-c", f"import os; os.listdir({str(site)!r}); os.listdir({str(repo)!r})"]
    need(
        subprocess.run(reads, capture_output=True, check=False, **as_nobody).returncode == 0,
        "a checkout for all to read",
    )
    run = f"import runpy, sys; sys.path[:0] = [{str(repo)!r}, {str(site)!r}]\n{RUN}"
    keys = host.keys()
    text = "[ci]\n" + "".join(f"{name.lower()} = {value}\n" for name, value in keys.items())
    question = host.question(Call(Identity(profile="ci"), "eu-west-1"), files={"AWS_SHARED_CREDENTIALS_FILE": text})

    with host.aws.fault(Fault(service="ecr", latency=60)) as fault:
        issuer = Issuer(question, ["/usr/bin/python3", "-I", "-c", run], **as_nobody)
        host.aws.wait_for_calls(1, service="ecr")
        owner = Path(f"/proc/{issuer.process.pid}/environ").stat().st_uid
        fault.lift()
        answers, stderr = issuer.rest()

    assert stderr == ""
    assert [type(each) for each in answers] == [Issued], answers
    assert owner == 0, "PR_SET_DUMPABLE 0 closes /proc/PID to others of that user"
