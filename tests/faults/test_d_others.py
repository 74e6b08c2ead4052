"""D: who else is at config.json. What is hit is destination ``one``, or a user of this machine."""

import json
import os
import shutil
import subprocess
import time

import pytest

import ecrlogind
from ecrlogind.courier.beside import Names
from tests.support.deadly import DeadlyPython
from tests.support.need import need
from tests.support.people import person, some_name
from tests.support.rows import row
from tests.support.shell import shell
from tests.support.story import FOREIGN, SOUND, VICTIM

BOTH = {SOUND, VICTIM}


pytestmark = pytest.mark.usefixtures("hits_one")


def ours(story, name="one"):
    """Return the hosts that are logged in to in a file."""
    return {host for host in story.keeper.auths(name) if host in BOTH}


@row(
    "D20",
    provoked="docker itself logs out of forty registries, one by one, while logins are renewed every few seconds",
    holds="none of its changes is lost, and ours are in place",
)
def test_d20_docker_at_the_same_time(story):
    need(shutil.which("docker"), "docker")
    path = story.destinations["one"]
    hosts = [f"out{number}.example" for number in range(40)]
    auths = {host: {"auth": "bWU6bWU="} for host in (*hosts, "quay.io")}
    story.put(json.dumps({"auths": auths}))
    story.rewritten.add("one")
    story.aws.world.lifetime = 2
    story.start()
    story.until(lambda: ours(story) == BOTH, "the first logins")
    for host in hosts:
        subprocess.run(["docker", "--config", path.parent, "logout", host], check=True, capture_output=True)
    story.aws.world.lifetime = 3600
    story.foreign["one"] = b'{"auths": {"quay.io": {"auth": "bWU6bWU="}}}'
    story.settle()
    assert set(story.keeper.auths()) == {"quay.io", *BOTH}


@row(
    "D21",
    provoked="a job runs `docker logout` of our host in a loop",
    holds="put back at once, twenty times, then every two seconds (by the design); AWS is not asked again",
)
def test_d21_a_logout_in_a_loop(story):
    need(shutil.which("docker"), "docker")
    path = story.destinations["one"]
    story.put('{"auths": {"quay.io": {"auth": "bWU6bWU="}}}')
    story.rewritten.add("one")
    story.start().settle()
    rounds = 0
    until = time.monotonic() + 6
    while time.monotonic() < until:
        if SOUND in story.keeper.auths():
            rounds += 1
            subprocess.run(["docker", "--config", path.parent, "logout", SOUND], check=True, capture_output=True)
        time.sleep(0.01)
    assert 3 <= rounds <= 26
    assert len(story.aws.calls(service="ecr")) == 2
    story.settle()


@row(
    "D22",
    provoked="a credential store (credsStore) makes docker pass over what stands in the file",
    holds="told as shadowed, with what mends it; with `on_shadow = fix` our helper answers for our hosts",
)
@pytest.mark.parametrize("fix", [False, True])
def test_d22_a_credential_store(story, fix):
    story.put('{"credsStore": "pass", "auths": {"quay.io": {}}}')
    if fix:
        story.entries[0]["on_shadow"] = "fix"
        story.rewritten.add("one")
        story.start().settle()
        helpers = json.loads(story.destinations["one"].read_text())["credHelpers"]
        assert helpers == dict.fromkeys(BOTH, "ecrlogind")
    else:
        story.shadowed.add(story.label("one"))
        story.start()
        story.until(lambda: story.state(SOUND, "one") == "shadowed", "the shadow")
        error = story.error(SOUND, "one")
        assert error["code"] == "shadowed_by_store"
        assert "on_shadow" in error["hint"] or "credsStore" in error["message"]


@row(
    "D23",
    provoked="somebody has Amazon's helper answer for our host (credHelpers)",
    holds="left alone; told as shadowed, by which helper",
)
def test_d23_another_helper(story):
    story.put(json.dumps({"auths": {}, "credHelpers": {SOUND: "ecr-login"}}))
    story.shadowed.add((SOUND, story.label("one")))
    story.start()
    story.until(lambda: story.state(SOUND, "one") == "shadowed", "the shadow")
    error = story.error(SOUND, "one")
    assert error["code"] == "shadowed_by_helper"
    assert "ecr-login" in error["message"]
    assert json.loads(story.destinations["one"].read_text())["credHelpers"] == {SOUND: "ecr-login"}


@row(
    "D24",
    provoked="a user's DOCKER_CONFIG, DOCKER_AUTH_CONFIG or REGISTRY_AUTH_FILE leads the client elsewhere",
    holds="the doctor finds it, asked in that environment",
)
def test_d24_variables_that_lead_elsewhere(story, user):
    story.admit(user)
    for each in (story.directory, *story.directory.parents):
        if str(each).startswith("/tmp/pytest"):
            each.chmod(0o755)
    story.start().settle()
    story.keeper.config.chmod(0o644)
    found = {}
    for variables in (
        {"DOCKER_CONFIG": str(user.home / "job")},
        {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {SOUND: {"auth": "eDp5"}}})},
        {"REGISTRY_AUTH_FILE": "/nowhere/auth.json"},
    ):
        done = user.run(
            *(*story.keeper.program, "doctor", "--json", "--config", story.keeper.config),
            env={"ECRLOGIND_STATE": str(story.keeper.state), **variables},
        )
        story.said += [done.stdout, done.stderr]
        codes = {each["code"] for case in json.loads(done.stdout)["cases"] for each in case["findings"]}
        found |= dict.fromkeys(variables, codes)
    assert "docker_config_elsewhere" in found["DOCKER_CONFIG"], found
    assert found["REGISTRY_AUTH_FILE"] == {"registry_auth_file"} or not shutil.which("skopeo"), found


@row(
    "D25",
    provoked="entries under other spellings of our host: https://, http://, with /, /v1/, /v2/, and with a path",
    holds="exact twins go, since a stale one can win; a path's own login stays; ours stands under the bare host",
)
def test_d25_other_spellings(story):
    twins = [f"https://{SOUND}", f"http://{SOUND}/", f"https://{SOUND}/v2/", f"https://{SOUND}/v1/"]
    stays = {f"{SOUND}/team-a": {"auth": "bWU6bWU="}, "quay.io": {"auth": "bWU6bWU="}}
    story.put(json.dumps({"auths": {key: {"auth": "b2xkOm9sZA=="} for key in twins} | stays}))
    story.stand_ins |= set(twins)
    story.rewritten.add("one")
    story.start().settle()
    assert set(story.keeper.auths()) == {*BOTH, *stays}


@row(
    "D26",
    provoked="temporary files of a courier that was killed long ago, and files that only look like it",
    holds="ours are swept at the next visit, others stay",
)
def test_d26_leftovers(story):
    place = story.destinations["one"].parent
    names = Names.beside("config.json")
    ours_left, other = place / names.writing(), place / ".ecrlogind.notes"
    for each in (ours_left, other):
        each.write_text("{}")
        each.chmod(0o600)
        os.utime(each, (time.time() - 3600,) * 2)
    story.start().settle()
    story.until(lambda: not ours_left.exists(), "the sweep")
    assert other.exists()


@row(
    "D27",
    provoked="couriers are killed (SIGKILL) at moments all over their life: at a call to the outside, whichever it is",
    holds="the file is the old one or the new one, and whole; the next courier heals it and leaves nothing behind",
)
def test_d27_killed_couriers(story):
    place = story.directory / "python"
    place.mkdir()
    python = DeadlyPython(place, ecrlogind.__file__)
    story.keeper.program = python.program
    story.start().settle()
    story.touches("two")
    died = []
    for moment in range(6, 60, 10):
        python.order("ecrlogind.courier", moment)
        story.put(FOREIGN)
        story.until(lambda: ours(story) == BOTH or python.last_act, "a death, or a login")
        if python.last_act:
            died.append(python.last_act)
        python.pardon()
        story.until(lambda: ours(story) == BOTH, "the logins, put back")
    assert len(died) >= 3, died
    story.settle()
    assert os.listdir(story.destinations["one"].parent) == ["config.json"]


@row(
    "D28",
    provoked="power is lost right after a delivery",
    holds="the file was flushed before the exchange and the directory after it: what stands there is whole, old or new",
    instead="No power can be cut here: the order of the calls that make it safe is read from strace.",
)
def test_d28_the_order_that_survives_a_loss_of_power(story, couriers):
    need(shutil.which("strace"), "strace")
    log = story.directory / "calls"
    couriers.behind("strace", "-qq", "-y", "-A", "-o", str(log), "-e", "trace=fsync,renameat2,unlinkat")
    story.start().settle()
    couriers.as_it_is()
    place = str(story.destinations["one"].parent)
    calls = [line for line in log.read_text().splitlines() if place in line and line.rstrip().endswith("= 0")]
    kinds = [line.partition("(")[0] for line in calls][:4]
    assert kinds == ["fsync", "renameat2", "unlinkat", "fsync"], calls
    assert "/.ecrlogind." in calls[0]
    assert "RENAME_EXCHANGE" in calls[1]
    assert calls[3].partition(">")[0].endswith(place)
    log.unlink()


@row(
    "D29",
    provoked="two entries of the settings name the same file, for one registry each",
    holds="both logins stand in it, and neither delivery takes the other's out",
)
def test_d29_two_entries_one_file(story):
    path = story.entries[0]["path"]
    story.entries[0]["registries"] = [VICTIM]
    story.entries.append({"path": path, "registries": [SOUND]})
    story.start().settle()
    assert ours(story) == BOTH
    story.put(FOREIGN)
    story.until(lambda: ours(story) == BOTH, "both, put back")


@row(
    "D30",
    provoked="the user is deleted while the daemon runs, comes back under another uid, and has nologin for a shell",
    holds="pending while away, nothing is written under the old uid; then logged in as whom the name means now",
)
def test_d30_a_user_who_leaves_and_comes_back(story, installed):
    story.keeper.program = installed
    story.tick_often()
    name = some_name()
    with person(name) as who:
        story.admit(who)
        story.start().settle()
        story.out_of_reach.add("theirs")
    story.absent.add(f"user:{name}")
    story.until(lambda: story.state(SOUND, "theirs") == "pending", "the user, gone")
    story.hold()
    story.absent.clear()
    with person() as _between:  # so that the uid is another
        again = story.opened.enter_context(person(name))
        story.out_of_reach.clear()
        shell(f"usermod --shell {shutil.which('nologin') or '/usr/sbin/nologin'} {name}")
        path = story.admit(again)
        story.settle()
        assert path.stat().st_uid == again.uid
