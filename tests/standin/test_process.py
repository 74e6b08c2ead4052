import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from standin import Remote, Role, spawn

ROOT = Path(__file__).parents[2]


@pytest.fixture
def remote(aws):
    return Remote(aws.url)


def test_another_process_can_do_what_the_owner_can(aws, client, remote):
    user = remote.user("444455556666", "alice")
    ecr = client("ecr", keys=aws.world.identities.by_key(user["access_key"]))
    host = "444455556666.dkr.ecr.eu-west-1.amazonaws.com"
    remote.set(lifetime=30)
    ecr.get_authorization_token()
    [first] = remote.passwords("eu-west-1")
    assert first["expires_at"] - first["issued_at"] == 30
    assert remote.accepts(host, first["value"])
    assert first["value"] in remote.secrets()

    number = remote.fault(service="ecr", error="ThrottlingException", retry_after=1)
    with pytest.raises(ClientError, match="Throttling"):
        ecr.get_authorization_token()
    remote.lift(number)
    remote.deny("ecr:*", identity="*alice")
    with pytest.raises(ClientError, match="not authorized"):
        ecr.get_authorization_token()
    remote.permit()
    remote.set(only_newest=True)
    ecr.get_authorization_token()
    assert not remote.accepts(host, first["value"])
    newest = remote.passwords("eu-west-1")[-1]
    remote.revoke(newest["value"])
    assert not remote.accepts(host, newest["value"])

    assert [call["status"] for call in remote.calls(service="ecr")] == [200, 400, 400, 200]
    assert {call["identity"] for call in remote.calls()} == {user["arn"]}
    remote.forget_calls()
    assert aws.calls() == []


def test_another_process_can_change_the_instance_the_roles_and_the_images(aws, ask, remote):
    remote.set_instance(region="us-east-1", role=None, state="disabled")
    remote.role("arn:aws:iam::444455556666:role/pull", trusts=["*:user/alice"], external_id="x")
    digest = remote.add_image("base:latest")
    remote.fault(service="imds", status=418, drop=["a.b"], body="", times=1)
    remote.fault(service="imds", error="Lifted")
    remote.lift(2)

    assert (aws.instance.region, aws.instance.role, aws.instance.state) == ("us-east-1", None, "disabled")
    assert aws.world.identities.roles == {
        "arn:aws:iam::444455556666:role/pull": Role(trusts=("*:user/alice",), external_id="x")
    }
    assert aws.world.tags("any", "base") == {"latest": digest}
    assert [ask("GET", "/latest/nonsense").status for _ in range(2)] == [418, 403]


@pytest.mark.parametrize(
    "mistake",
    [
        lambda remote: remote.set(lifetme=3),
        lambda remote: remote.set_instance(colour="red"),
        lambda remote: remote.fault(servce="ecr"),
        lambda remote: remote.calls(nonsense="1"),
    ],
)
def test_a_mistake_is_answered_with_what_is_wrong(remote, mistake):
    with pytest.raises(ValueError, match=r"lifetme|colour|servce|nonsense"):
        mistake(remote)


def test_a_spawned_stand_in_lives_as_long_as_its_context(tmp_path):
    with spawn(tmp_path / "aws", "--lifetime", "30") as remote:
        assert Path(remote.about()["ca_file"]).exists()
    with pytest.raises(OSError):
        remote.about()


def started(directory):
    command = [sys.executable, "-m", "standin", "--state-dir", directory]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)


def test_one_line_says_where_it_serves_and_closing_its_stdin_ends_it(tmp_path):
    with started(tmp_path / "aws") as process:
        said = json.loads(process.stdout.readline())
        assert said["pid"] == process.pid
        assert Path(said["ca_file"]).read_text().startswith("-----BEGIN CERTIFICATE-----")
        assert Remote(said["url"]).about()["tls_endpoints"] == said["tls_endpoints"]
        process.stdin.close()
        assert process.wait(10) == 0


def test_sigterm_ends_it_even_while_a_call_hangs(tmp_path):
    with started(tmp_path / "aws") as process:
        remote = Remote(json.loads(process.stdout.readline())["url"])
        remote.fault(behaviour="hang")
        hung = subprocess.Popen(
            [sys.executable, "-c", f"import urllib.request as u; u.urlopen('{remote.url}/v2/')"],
            stderr=subprocess.DEVNULL,
            env={"no_proxy": "*"},
        )
        while not remote.calls():
            assert hung.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert hung.wait(10) == 1
