"""Whatever a client or kubelet says to the scripts: an answer of the protocol, and nothing run, written or let out."""

import json
import re

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from tests.support.bounded import examples
from tests.support.nearly import nearly

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
SECRET = "a secret of the keeper"
HELD = json.dumps({"ServerURL": HOST, "Username": "AWS", "Secret": SECRET}, separators=(",", ":")) + "\n"
REQUEST = json.dumps(
    {
        "kind": "CredentialProviderRequest",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "image": f"{HOST}/team/app:v1",
        "serviceAccountToken": "eyJ.x.y",
        "serviceAccountAnnotations": {"a/b": "c"},
    },
    separators=(",", ":"),
)
STORED = json.dumps({"ServerURL": "quay.io", "Username": "me", "Secret": 'a "secret" of \\theirs'})

fuzzed = examples(25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def keeping(plain_host):
    plain_host.hold(HOST, password=SECRET)
    return plain_host


def left_behind(host):
    """Return the names of all files of the host, but for where the scripts keep the user's own logins."""
    found = {str(path.relative_to(host.directory)) for path in host.directory.rglob("*")}
    return {name for name in found if "ecrlogind-own" not in name and not name.startswith("home/.docker")}


def names_our_host(text):
    """Whether a client that said *text* may mean our host."""
    return HOST.encode() in text.replace(b"\0", b"")


@given(text=nearly([HOST, f"https://{HOST}/v2/\n", f"{HOST}:443", "quay.io"]))
@example(text=f"../0/{HOST}".encode())
@fuzzed
def test_the_helper_gives_a_login_to_who_names_its_registry_and_else_says_so(keeping, text):
    before = left_behind(keeping)

    done = keeping.run("docker-credential-ecrlogind", "get", stdin=text)

    assert done.stderr == b""
    assert left_behind(keeping) == before
    if done.returncode == 0:
        assert done.stdout.decode() == HELD
        assert names_our_host(text)
    else:
        assert done.returncode == 1
        assert re.fullmatch(rb"[ -~]+\n", done.stdout)
        assert SECRET.encode() not in done.stdout


@given(
    text=nearly([STORED, json.dumps(json.loads(STORED), indent=2)]), action=st.sampled_from(["store", "erase", "list"])
)
@fuzzed
def test_what_is_stored_and_erased_costs_no_login_of_ours(keeping, text, action):
    before = left_behind(keeping)

    done = keeping.run("docker-credential-ecrlogind", action, stdin=text)

    assert done.stderr == b""
    assert done.returncode in (0, 1)
    assert left_behind(keeping) == before
    assert SECRET.encode() not in done.stdout
    if action == "list":
        assert json.loads(done.stdout)[HOST] == "AWS"
    if not names_our_host(text):
        assert keeping.get(HOST) == ("AWS", SECRET)


@given(text=nearly([REQUEST, REQUEST + "\n", json.dumps(json.loads(REQUEST), indent=4)]))
@fuzzed
def test_kubelet_is_given_the_login_of_the_image_s_registry_or_an_error(keeping, text):
    before = left_behind(keeping)

    # A trace of sleep would be a wait for what is held: nobody waits here.
    done = keeping.run("ecrlogind-credential-provider", stdin=text)

    assert left_behind(keeping) == before
    if done.returncode == 0:
        [(host, login)] = json.loads(done.stdout)["auth"].items()
        assert host.removesuffix(":443") == HOST
        assert login == {"username": "AWS", "password": SECRET}
        asked = json.loads(text)["image"]
        assert asked.partition("/")[0] == host
    else:
        assert (done.returncode, done.stdout) == (1, b"")
        assert re.fullmatch(rb"ecrlogind: [ -~]+\n", done.stderr)
        assert SECRET.encode() not in done.stderr
