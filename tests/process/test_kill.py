"""kill -9 at any moment, and a store that was garbled: nothing whole is lost, and AWS is asked for nothing twice."""

import hashlib
import json
import os
import random
from contextlib import suppress
from datetime import timedelta

import pytest

import ecrlogind
from ecrlogind.core.credential import Credential, Secret
from ecrlogind.core.identity import HOST
from ecrlogind.core.wire import Call
from ecrlogind.keeper.store import Store
from tests.support.deadly import DeadlyPython
from tests.support.keeper import until

MOMENTS = 50
MOMENTS_OF_A_HOST = 10

REGIONS = [
    f"{where}-{number}"
    for where in ("eu-west", "us-east", "us-west", "ap-southeast", "eu-central", "ap-northeast", "eu-north")
    for number in (1, 2, 3)
]
FOREIGN = b'{\n   "auths":{"quay.io":  {"auth":"bWU6bWU="}},\n\t"HttpHeaders" : {"X-Meta": 1.50e+400},"x":[ ]\n}\n'
FOREIGN_PARTS = (b'"quay.io":  {"auth":"bWU6bWU="}', b'\t"HttpHeaders" : {"X-Meta": 1.50e+400},"x":[ ]\n}\n')

# Who dies, and at how many moments of its life it can: counted in a start that has one or two new logins to see to.
KEEPER, ISSUER, COURIER = ("ecrlogind", 130), ("ecrlogind.issuer", 130), ("ecrlogind.courier", 75)
ROLES = (*[KEEPER] * 5, *[COURIER] * 3, *[ISSUER] * 2)


def fail(error):
    raise error


def host_of(region):
    return f"111122223333.dkr.ecr.{region}.amazonaws.com"


@pytest.mark.parametrize("number", range(MOMENTS // MOMENTS_OF_A_HOST))
def test_whoever_is_killed_at_whatever_call_nothing_is_lost_and_nothing_whole_is_asked_for_again(
    keeper, aws, number, request
):
    seed = f"{request.config.getoption('randomly_seed', default=0)} {number}"
    print("seed:", seed)  # noqa: T201  # told with a failure
    draw = random.Random(seed)
    python = DeadlyPython(keeper.directory / "python", ecrlogind.__file__)
    keeper.program = python.program
    names = ("one", "two")
    for name in names:
        keeper.destination(name).parent.mkdir()
        keeper.destination(name).write_bytes(FOREIGN)
    regions = draw.sample(REGIONS, len(REGIONS))
    wanted = []
    deaths = 0

    for module, moments in draw.sample(ROLES, MOMENTS_OF_A_HOST):
        # Each start finds something to do: logins that were not there before.
        wanted += [regions.pop() for _ in range(draw.randint(1, 2))]
        keeper.write_settings(list(map(host_of, wanted)), [{"path": str(keeper.destination(name))} for name in names])
        held = held_regions(keeper)
        aws.forget_calls()

        python.order(module, draw.randint(1, moments))
        keeper.start()
        logins = len(wanted) * len(names)
        until(lambda logins=logins: python.last_act or is_settled(keeper, logins), "a death, or the end")
        deaths += python.last_act is not None
        held_now = held_regions(keeper)
        print(f"{module}: {python.last_act}; held are {len(held_now)} of {len(wanted)}")  # noqa: T201  # the same
        keeper.end()
        until(lambda: not survivors(python), "the end of those whom it left behind")

        assert not asked_regions(aws) & held
        for name in names:
            is_whole(keeper.destination(name))

    assert deaths >= MOMENTS_OF_A_HOST / 2  # the others came to the end, and were killed there
    python.pardon()
    held = held_regions(keeper)
    aws.forget_calls()
    with keeper.running():
        settled(keeper, wanted, names)
        assert asked_regions(aws) == set(wanted) - held
        nothing_left_over(keeper, aws, names)
        keeper.process.kill()
        keeper.process.wait()
    aws.forget_calls()
    with keeper.running():
        settled(keeper, wanted, names)
        assert keeper.stop() == 0
    assert aws.calls() == []
    nothing_left_over(keeper, aws, names)


# --- the store


def test_what_was_garbled_in_the_store_is_asked_for_again_and_nothing_else_is(keeper, aws):
    regions = REGIONS[:9]
    keeper.destination().parent.mkdir()
    keeper.destination().write_bytes(FOREIGN)
    keeper.write_settings(list(map(host_of, regions)))
    assert keeper.run("login").returncode == 0
    files = {region_of(path): path for path in (keeper.state / "credentials").glob("*.credential")}
    whole = {region: files[region].read_bytes() for region in regions}

    empty, cut, flipped, huge, of_other_boot, no_message, one, other, _untouched = regions
    files[empty].write_bytes(b"")
    files[cut].write_bytes(whole[cut][:-1])
    files[flipped].write_bytes(whole[flipped].replace(b"AWS", b"AWT"))
    with files[huge].open("r+b") as file:
        file.truncate(1 << 33)
    files[of_other_boot].write_bytes(sealed(json.loads(payload(whole[of_other_boot])) | {"boot": "another"}))
    files[no_message].write_bytes(sealed({"boot": 1}))
    # Each says itself what it is: a name that is not its own makes it no less whole.
    files[one].write_bytes(whole[other])
    files[other].write_bytes(whole[one])
    for path in (keeper.state / "credentials").glob("*.delivery"):
        path.write_bytes(path.read_bytes()[:100])
    (keeper.state / "credentials" / ".new-0123456789abcdef").write_bytes(whole[one])
    (keeper.state / "credentials" / "what is this").write_bytes(whole[one])
    (keeper.state / "status.json").write_bytes(b'{"version": 1, "pid": ')
    assert keeper.run("status").returncode == 3

    aws.forget_calls()
    with keeper.running():
        settled(keeper, regions, ["one"])
        keeper.stop()
    assert asked_regions(aws) == {empty, cut, flipped, huge, of_other_boot, no_message}
    discarded = [line for line in keeper.log.splitlines() if "store.discarded" in line]
    assert len(discarded) == 6  # five of them, and the delivery; of another boot is nothing wrong
    assert {path.suffix for path in (keeper.state / "credentials").iterdir()} == {".credential", ".delivery"}

    aws.forget_calls()
    with keeper.running():
        settled(keeper, regions, ["one"])
    assert aws.calls() == []


def test_whatever_bytes_of_the_store_are_others_only_what_is_whole_is_taken_up(tmp_path, request):
    draw = random.Random(f"{request.config.getoption('randomly_seed', default=0)} store")
    calls = [Call(HOST, region) for region in REGIONS[:3]]
    hours = [timedelta(hours=number) for number in (1, 13, 7)]
    kept = {call: Credential("AWS", Secret(f"password of {call.region}"), *hours) for call in calls}
    store = Store(tmp_path / "credentials", "this boot", fail)
    store.load()
    for call, credential in kept.items():
        store.keep_credential(call, credential)
    originals = {path: path.read_bytes() for path in (tmp_path / "credentials").iterdir()}

    for _ in range(150):
        harmed = 0
        for path, content in originals.items():
            garbled = draw.choice((garble, lambda same, _: same))(content, draw)
            path.write_bytes(garbled)
            harmed += garbled != content
        held = Store(tmp_path / "credentials", "this boot", fail).load()
        assert held.credentials.items() <= kept.items()
        assert len(held.credentials) == len(kept) - harmed
        assert len(held.discarded) == harmed


def garble(content, draw):
    at = draw.randrange(len(content))
    match draw.randrange(4):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]
        case 2:
            return content[:at] + draw.randbytes(draw.randint(1, 64)) + content[at:]
        case _:
            return content + draw.randbytes(draw.randint(1, 64))


def payload(content):
    return content.partition(b"\n")[2]


def sealed(document):
    text = json.dumps(document).encode() + b"\n"
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def region_of(path):
    return json.loads(payload(path.read_bytes()))["call"]["region"]


# --- what is looked at


def is_settled(keeper, logins):
    document = {}
    with suppress(ValueError):  # it may be what the test has garbled
        document = keeper.document or {}
    found = [each["state"] for each in document.get("logins", ())]
    return document.get("pid") == keeper.process.pid and found == ["in_place"] * logins


def survivors(python):
    """Return the processes that still run in *python*'s environment."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
            if file.read().startswith(python.program[0]):
                found.append(int(pid))
    return found


def held_regions(keeper):
    """Return the regions that whole files of the store hold a credential of."""
    found = set()
    for path in (keeper.state / "credentials").glob("*.credential"):
        seal, _, payload = path.read_bytes().partition(b"\n")
        if hashlib.sha256(payload).hexdigest().encode() == seal:
            found.add(json.loads(payload)["call"]["region"])
    return found


def asked_regions(aws):
    return {call.region for call in aws.calls(action="GetAuthorizationToken")}


def is_whole(path):
    text = path.read_bytes()
    assert set(json.loads(text)["auths"]) >= {"quay.io"}
    assert all(part in text for part in FOREIGN_PARTS)


def settled(keeper, regions, names):
    until(lambda: is_settled(keeper, len(regions) * len(names)), "every login")
    for name in names:
        is_whole(keeper.destination(name))
        assert set(keeper.auths(name)) == {"quay.io", *map(host_of, regions)}


def nothing_left_over(keeper, aws, names):
    """See that no dead writer's file is there, and that secrets are in the store, the answers and the destinations."""
    # The living one may just be writing its status.
    until(lambda: [path for path in keeper.state.rglob("*") if path.name.startswith(".")] == [], "a clean directory", 3)
    for name in names:
        assert os.listdir(keeper.destination(name).parent) == ["config.json"]
    marks = [mark.encode() for mark in aws.world.passwords.marks()]

    def are_where_they_belong():
        secret = set()
        for path in keeper.directory.rglob("*"):
            with suppress(OSError):  # a directory, a socket, or the living one's new status a moment ago
                secret |= {path} if any(mark in path.read_bytes() for mark in marks) else set()
        store = {*(keeper.state / "credentials").glob("*.credential"), *(keeper.state / "answers").glob("*/*")}
        return secret == store | {keeper.destination(name) for name in names}

    until(are_where_they_belong, "every secret in its place and nowhere else", 3)
