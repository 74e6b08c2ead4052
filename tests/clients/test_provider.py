"""kubelet's exec plugin, against what kubelet sends and what it takes."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest

from ecrlogind.core.refusal import INCURABLE
from ecrlogind.core.wire import Refusal

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
API = "credentialprovider.kubelet.k8s.io/v1"
PROVIDER = "ecrlogind-credential-provider"

# CredentialProviderResponse as in k8s.io/kubelet/pkg/apis/credentialprovider/v1; kubelet decodes it strictly.
RESPONSE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind", "apiVersion", "cacheKeyType", "cacheDuration", "auth"],
    "properties": {
        "kind": {"const": "CredentialProviderResponse"},
        "apiVersion": {"const": API},
        "cacheKeyType": {"enum": ["Image", "Registry", "Global"]},
        "cacheDuration": {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(h|m|s))+$"},
        "auth": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["username", "password"],
                "properties": {"username": {"type": "string"}, "password": {"type": "string"}},
            },
        },
    },
}


def request(image=f"{HOST}/team/app:v1", **more):
    """Return what kubelet writes: Go's encoder, the type first, a line break at the end."""
    asked = {"kind": "CredentialProviderRequest", "apiVersion": API, "image": image, **more}
    return json.dumps(asked, separators=(",", ":")) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        request(),
        request(f"{HOST}/app"),
        request(f"{HOST}/app@sha256:{'0' * 64}"),
        request(serviceAccountToken="eyJ.x.y", serviceAccountAnnotations={"a/b": "c", "d": 'e\\"f'}),
        request(serviceAccountAnnotations={}),
        json.dumps(json.loads(request()), indent=4),
        request().replace("/", "\\/"),
    ],
)
def test_kubelet_is_given_the_login_for_the_registry_for_half_of_what_is_left(host, text):
    host.hold(HOST, password='pass\\"word', left=7_200)

    done = host.run(PROVIDER, stdin=text)

    assert (done.returncode, done.stderr) == (0, b"")
    answer = json.loads(done.stdout)
    jsonschema.validate(answer, RESPONSE)
    assert answer["cacheKeyType"] == "Registry"
    assert answer["auth"] == {HOST: {"username": "AWS", "password": 'pass\\"word'}}
    assert 3_500 < int(answer["cacheDuration"].removesuffix("s")) <= 3_600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "{}",
        "[]",
        "null",
        "x" * 10_000,
        request()[:-3],
        request() + request(),
        request(extra="x"),
        request(Image="x"),
        request(image=None),
        request(image=1),
        request(image=["x"]),
        request(serviceAccountToken=None),
        request(serviceAccountAnnotations={"a": 1}),
        request(serviceAccountAnnotations="x"),
        request().replace('"image"', '"kind":"CredentialProviderRequest","image"'),
        request().replace(API, API + "beta1"),
        request().replace(API, "v1"),
        request().replace("CredentialProviderRequest", "CredentialProviderResponse"),
        request().replace('"kind":"CredentialProviderRequest",', ""),
        request().replace(f'"apiVersion":"{API}",', ""),
        request(""),
        request("nginx"),
        request("/app"),
        request(f"https://{HOST}/app"),
        request(f"../{HOST}/app"),
        request("*/app"),
        request("$(touch planted)/app"),
        request(f"{HOST.upper()}/app"),
        request(f"{HOST}\n/app"),
    ],
)
def test_a_request_that_is_none_is_an_error_on_stderr(host, text):
    host.hold(HOST)

    done = host.run(PROVIDER, stdin=text)

    assert (done.returncode, done.stdout) == (1, b"")
    assert re.fullmatch(rb"ecrlogind: [ -~]+\n", done.stderr)
    assert not (host.directory / "planted").exists()


def test_kubelet_may_give_the_state_directory_but_nothing_else(host):
    host.hold(HOST)

    assert host.run(PROVIDER, "--state", "/run/ecrlogind", stdin=request()).returncode == 0
    done = host.run(PROVIDER, "--verbose", stdin=request())
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"unknown argument: --verbose" in done.stderr


def test_a_port_that_the_image_names_is_named_in_the_answer_for_kubelet_compares_it(plain_host):
    plain_host.hold(HOST)

    done = plain_host.run(PROVIDER, stdin=request(f"{HOST}:443/app"))

    assert json.loads(done.stdout)["auth"].keys() == {f"{HOST}:443"}


@pytest.fixture
def no_sleep(plain_host):
    """Return an environment in which waiting leaves a trace."""
    tools = plain_host.directory / "tools"
    tools.mkdir()
    (tools / "sleep").write_text("#!/bin/sh\ntouch slept\nexec /bin/sleep 60\n")
    (tools / "sleep").chmod(0o755)
    yield {"PATH": f"{tools}:{os.environ['PATH']}"}
    assert not (plain_host.directory / "slept").exists()


def test_a_registry_that_is_not_configured_is_an_error_that_says_so_at_once(plain_host, no_sleep):
    for image in (f"{HOST}/app", "registry.example.com/app"):
        done = plain_host.run(PROVIDER, stdin=request(image), env=no_sleep)

        assert (done.returncode, done.stdout) == (1, b"")
        assert b"is not configured for uid 0" in done.stderr


@pytest.mark.parametrize("code", sorted(INCURABLE))
def test_a_registry_that_is_refused_for_good_is_an_error_at_once_with_the_reason(plain_host, no_sleep, code):
    plain_host.refuse(HOST, Refusal(code, "role/ci may not", "Allow it."))

    done = plain_host.run(PROVIDER, stdin=request(), env=no_sleep)

    assert (done.returncode, done.stdout) == (1, b"")
    assert f"{code}: role/ci may not".encode() in done.stderr


def test_the_users_own_login_is_not_for_kubelet(plain_host):
    plain_host.hold(HOST, password="ours")
    plain_host.store(HOST, "me", "mine")

    assert b'"ours"' in plain_host.run(PROVIDER, stdin=request()).stdout


@pytest.fixture
def waiting(host):
    """Return a function that starts the provider and returns it once it waits."""
    started = []

    def start():
        process = subprocess.Popen(
            host.command(PROVIDER),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=host.environment(),
        )
        started.append(process)
        process.stdin.write(request().encode())
        process.stdin.close()
        process.stdin = None
        deadline = time.monotonic() + 20
        while not _sleeps(process):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _sleeps(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        return any(Path(f"/proc/{child}/comm").read_text() == "sleep\n" for child in children.read_text().split())
    except FileNotFoundError:
        return False


def _nothing_issued(host):
    host.refuse(HOST, None)


def _curable(host):
    host.refuse(HOST, Refusal("no_network", "no route", "Wait."))


def _expired(host):
    answer = host.hold(HOST).read_text().splitlines()[1]
    host.put(HOST, f"1\n{answer}\n")


def _self_unknown(host):
    host.tell({"registries": [{"name": "self", "host": None}]})


def _no_keeper(host):
    (host.state / "status.json").unlink()


@pytest.mark.parametrize("before", [_nothing_issued, _curable, _expired, _self_unknown, _no_keeper])
def test_during_boot_it_waits_for_the_login_rather_than_let_the_pull_go_anonymous(host, waiting, before):
    before(host)
    process = waiting()

    host.start()
    host.hold(HOST, password="at last")

    output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, b"")
    assert json.loads(output)["auth"][HOST]["password"] == "at last"


def test_it_stops_waiting_when_the_keeper_says_that_the_registry_is_none_of_its(host, waiting):
    _no_keeper(host)
    process = waiting()

    host.start()

    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"is not configured" in errors


@pytest.mark.long
def test_it_gives_up_after_half_of_kubelets_minute_with_the_reason(plain_host):
    _nothing_issued(plain_host)
    began = time.monotonic()

    done = plain_host.run(PROVIDER, stdin=request())

    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no credential has been issued yet" in done.stderr
    assert 29 < time.monotonic() - began < 45


def test_a_trace_tells_which_image_kubelet_asked_for(plain_host):
    tools = plain_host.directory / "tools"
    tools.mkdir()
    (tools / "systemd-cat").write_text('#!/bin/sh\nprintf "%s: " "$2" >>trace\nexec /bin/cat >>trace\n')
    (tools / "systemd-cat").chmod(0o755)
    plain_host.hold(HOST, password="a secret")
    env = {"ECRLOGIND_TRACE": "1", "PATH": f"{tools}:{os.environ['PATH']}"}

    plain_host.run(PROVIDER, stdin=request(), env=env)

    [line] = (plain_host.directory / "trace").read_text().splitlines()
    assert line.startswith("ecrlogind-credential-provider: uid 0, ")
    assert f"provide {HOST}/team/app:v1: a login that ends in " in line
    assert "a secret" not in line
