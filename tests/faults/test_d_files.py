"""D: config.json and the file system. What is hit is destination ``one``, or a user of this machine."""

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

import ecrlogind
from ecrlogind.courier.beside import Names
from tests.support.deadly import DeadlyPython
from tests.support.interposed import meeting
from tests.support.mounts import dead_server, mount
from tests.support.need import need
from tests.support.people import person, some_name
from tests.support.rows import row
from tests.support.story import FOREIGN, SOUND, VICTIM

BOTH = {SOUND, VICTIM}


@pytest.fixture(autouse=True)
def _affected(story):
    story.affects(destination="one")


def ours(story, name="one"):
    """Return the hosts that are logged in to in a file."""
    return {host for host in story.keeper.auths(name) if host in BOTH}


def run(person, script):
    """Run a shell script as a user, in the user's home."""
    done = person.run("sh", "-ec", script, cwd=person.home)
    assert done.returncode == 0, done.stderr


def shell(command):
    subprocess.run(command, shell=True, check=True)


@row(
    "D1",
    provoked="the file, its directory, or the user is not there yet",
    holds="made as the user, for the user alone (0700, 0600); who does not exist is pending, holds nobody up, and is "
    "logged in once there",
)
@pytest.mark.parametrize("late", [False, True])
def test_d1_what_is_not_there_yet(story, installed, late):
    story.keeper.program = installed
    story.tick_often()
    name = some_name()
    if late:
        story.expect(name)
        story.absent.add(f"user:{name}")
        story.start()
        story.until(lambda: (story.keeper.document or {}).get("ready"), "readiness: it waits for no user")
        assert story.error(SOUND, "theirs")["code"] == "no_user"
        story.hold()
        story.absent.clear()
    who = story.opened.enter_context(person(name))
    path = story.admit(who)
    if not late:
        story.start()
    story.settle()
    assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o600, who.uid)
    assert (path.parent.stat().st_mode & 0o777, path.parent.stat().st_uid) == (0o700, who.uid)


@row("D2", provoked="a file that is empty, or white space", holds="that is an empty document, as docker takes it")
def test_d2_an_empty_file(story):
    story.put("")
    story.add("blank", " \n\n")
    story.start().settle()


NO_DOCUMENTS = {
    "torn": (b'{"auths": {"quay', "invalid_json"),
    "mark": (b"\xef\xbb\xbf{}", "byte_order_mark"),
    "list": (b"[]", "wrong_shape"),
    "null": (b'{"auths": null}', "wrong_shape"),
    "auths": (b'{"auths": []}', "wrong_shape"),
    "twice": (b'{"auths": {}, "auths": {}}', "duplicate_key"),
    "nan": (b'{"x": NaN}', "invalid_json"),
    "deep": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
    "latin": (b'{"auths": "\xff"}', "invalid_json"),
}


@row(
    "D3",
    provoked="what is no document: torn, a BOM, no object, auths null or a list, a key twice, NaN, brackets 100,000 "
    "deep, no UTF-8",
    holds="left as it is to the byte, named with what mends it, and logged in to as soon as it is mended",
)
def test_d3_what_is_no_document(story):
    for name, (text, _) in NO_DOCUMENTS.items():
        story.add(name, text, unfit=True)
    story.start()
    for name, (_, code) in NO_DOCUMENTS.items():
        story.fails(code, name, destination=name)
    story.hold()
    for name in NO_DOCUMENTS:
        story.put("{}", name)
    story.mended()


@row(
    "D4",
    provoked="a file of 17 MiB, and one with a hole that is a terabyte long",
    holds="neither is read into memory nor changed; both are refused by name",
)
def test_d4_a_file_without_an_end(story):
    for name, size in (("large", 17 << 20), ("hole", 1 << 40)):
        path = story.add(name, " ")
        os.truncate(path, size)
        story.planted(name)
    story.start()
    for name in ("large", "hole"):
        story.fails("too_large", "16 MiB", "mv ", destination=name)
    story.hold()
    for name in ("large", "hole"):
        story.put("{}", name)
    story.mended()


LAYOUTS = {
    "tabs": '{\n\t"auths": {\n\t\t"quay.io": {\n\t\t\t"auth": "bWU6bWU="\n\t\t}\n\t},\n\t"z": 1,\n\t"a": 1.50e+400\n}',
    "none": '{"x":[1,{"y":null}],"auths":{"quay.io":{"auth":"bWU6bWU=","email":""}},"credHelpers":{"gcr.io":"gcloud"}}',
    "crlf": '{\r\n  "auths" : { },\r\n  "big": 123456789012345678901234567890\r\n}\r\n',
    "escapes": '{ "HttpHeaders": {"\\u00e4": "\\ud83d\\ude00 \u00e4 \\/"}, "detachKeys": "ctrl-\\\\" }\n',
}


@row(
    "D5",
    provoked="other people's entries and keys in every layout: order, indentation, CRLF, odd numbers, escapes",
    holds="every byte outside our own entries stands, through delivery and renewals",
)
def test_d5_what_others_wrote(story):
    for name, text in LAYOUTS.items():
        story.add(name, text)
    story.aws.world.lifetime = 5
    story.start().settle()
    first = story.password()
    story.until(lambda: story.password() != first, "a renewal")
    story.aws.world.lifetime = 3600
    story.hold()
    story.settle()


@row(
    "D6",
    provoked="the daemon starts anew, and is asked for a pass, while all is as it should be",
    holds="nothing is written: inode and time of change stay; AWS is not asked",
)
def test_d6_nothing_to_do(story):
    story.start().settle()
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in story.destinations.values()]
    asked = len(story.aws.calls(service="ecr"))

    story.crash()
    story.settle()
    assert story.run("login").returncode == 0

    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in story.destinations.values()] == before
    assert len(story.aws.calls(service="ecr")) == asked


@row(
    "D7",
    provoked="config.json is a link to a file in a directory of dotfiles, on another file system",
    holds="the link stays; the file is replaced where it is, with nothing left beside either",
)
def test_d7_dotfiles(story, user):
    dotfiles = user.home / "dotfiles"
    dotfiles.mkdir()
    story.opened.enter_context(mount("-t", "tmpfs", "-o", f"uid={user.uid},gid={user.uid},mode=700", "tmpfs", dotfiles))
    run(
        user,
        "mkdir .docker; echo '{\"x\": 1}' > dotfiles/docker.json; ln -s ../dotfiles/docker.json .docker/config.json",
    )
    path = story.admit(user)
    story.start().settle()
    assert os.readlink(path) == "../dotfiles/docker.json"
    assert os.listdir(dotfiles) == ["docker.json"]
    assert os.listdir(path.parent) == ["config.json"]


@row(
    "D8",
    provoked="a user links config.json to /etc/shadow, to root's config.json, to /proc/self/environ, to a neighbour's",
    holds="the kernel refuses, as it would the user; nothing of these is read or changed",
)
def test_d8_a_link_to_what_is_not_theirs(story, user):
    path = story.admit(user)
    # One whom the daemon does deliver to, in the place of root's own: that is the machine's.
    roots = story.add("roots", FOREIGN)
    roots.parent.chmod(0o700)
    neighbour = story.directory / "neighbour.json"
    neighbour.write_text('{"auths": {"quay.io": {"auth": "bmVpZ2hib3Vy"}}}')
    before = neighbour.read_text()
    run(user, f"mkdir .docker; ln -s /etc/shadow {path}")
    story.out_of_reach.add("theirs")  # whoever looks at it as root sees what it leads to
    story.start()
    codes = {}
    for target in ("/etc/shadow", "/proc/self/environ", str(roots), str(neighbour)):
        run(user, f"ln -sfn {target} {path}")

        def refused(target=target):
            error = story.error(SOUND, "theirs")
            wanted = {"/etc/shadow": target, "/proc/self/environ": "/environ"}.get(target, "Permission denied")
            return wanted in error["message"] and error["code"]

        codes[target] = story.until(refused, target)
    assert set(codes.values()) <= {"wrong_owner", "permission_denied"}, codes
    assert neighbour.read_text() == before
    assert "auths" not in Path("/etc/shadow").read_text()
    run(user, f"rm {path}")
    story.out_of_reach.clear()
    story.settle()


SWAP = """
import ctypes
libc = ctypes.CDLL(None)
print(flush=True)
while True:
    libc.renameat2(-100, b".docker", -100, b"other", 2)
"""


@row(
    "D9",
    provoked="a user swaps .docker with a link to root's directory, as fast as it goes, while logins are delivered",
    holds="nothing is written, made or removed elsewhere; once it stops, the user is logged in",
)
def test_d9_a_race_for_the_directory(story, user):
    story.admit(user)
    trap = story.directory / "trap"
    trap.mkdir(mode=0o777)
    (trap / "config.json").write_text("{}")
    (trap / "config.json").chmod(0o666)
    before = trap.stat().st_mtime_ns, os.listdir(trap), (trap / "config.json").stat().st_ctime_ns
    for each in (story.directory, *story.directory.parents):
        with suppress(OSError):
            if each.stat().st_mode & 0o005 != 0o005 and str(each).startswith("/tmp/pytest"):
                each.chmod(0o755)
    run(user, f"mkdir .docker; ln -s {trap} other")
    story.aws.world.lifetime = 3
    racer = subprocess.Popen(
        [
            "setpriv",
            f"--reuid={user.uid}",
            f"--regid={user.uid}",
            "--clear-groups",
            "/usr/bin/python3",
            "-I",
            "-c",
            SWAP,
        ],
        cwd=user.home,
        stdout=subprocess.PIPE,
    )
    try:
        racer.stdout.readline()
        story.start()
        story.until(lambda: len(story.calls()) >= 3, "three renewals")
    finally:
        racer.kill()
        racer.communicate()
    assert (trap.stat().st_mtime_ns, os.listdir(trap), (trap / "config.json").stat().st_ctime_ns) == before
    assert (trap / "config.json").read_text() == "{}"
    run(user, "[ ! -L .docker ] || { rm .docker; mv other .docker; }")
    story.aws.world.lifetime = 3600
    story.settle(within=60)


@row(
    "D10",
    provoked="the file has a second name (a hard link)",
    holds="ours is replaced; what stands under the other name stays, and a note says so",
)
def test_d10_a_second_name(story):
    other = story.directory / "other.json"
    os.link(story.destinations["one"], other)
    story.start().settle()
    story.others.add(other)
    assert other.read_bytes() == FOREIGN
    story.until(lambda: "hard_link" in story.log, "the note")


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(".", os.O_RDONLY)
        os.chdir(path.parent)
        try:
            one.bind(path.name)
        finally:
            os.fchdir(here)
            os.close(here)


NO_FILES = {
    "a FIFO": os.mkfifo,
    "a directory": os.mkdir,
    "a socket": a_socket,
    "a device": lambda path: os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5)),
}


@row(
    "D11",
    provoked="a FIFO, a socket, a device or a directory is where the file should be",
    holds="it is not opened, hangs nobody, and is named; logged in to once it is out of the way",
)
def test_d11_what_is_no_file(story):
    need(os.geteuid() == 0, "root, to make a device")
    for number, (_, make) in enumerate(NO_FILES.items()):
        make(story.add(str(number)))
        story.planted(str(number))
        story.out_of_reach.add(str(number))
    story.start()
    for number, kind in enumerate(NO_FILES):
        story.fails("not_a_file", kind, "mv ", destination=str(number))
    story.hold()
    for number in range(len(NO_FILES)):
        path = story.destinations[str(number)]
        path.rmdir() if path.is_dir() else path.unlink()
        story.unfit.discard(str(number))
        story.foreign[str(number)] = None
    story.out_of_reach.clear()
    story.mended()


@row(
    "D12",
    provoked="a user's file or directory belongs to root, as `sudo docker login` leaves it",
    holds="refused with the very chown that mends it, which then does",
)
@pytest.mark.parametrize("what", ["file", "directory"])
def test_d12_what_is_root_s(story, user, what):
    path = story.admit(user)
    run(user, "mkdir .docker; echo '{}' > .docker/config.json; chmod 600 .docker/config.json")
    story.foreign["theirs"] = b"{}\n"
    os.chown(path if what == "file" else path.parent, 0, 0)
    story.start()
    story.fails("wrong_owner" if what == "file" else "permission_denied", destination="theirs")
    hint = story.error(SOUND, "theirs")["hint"]
    shell(hint[hint.index("chown") :])
    story.mended()


@row(
    "D13",
    provoked="files that others may read or write (0644, 0666)",
    holds="they are the owner's alone after the first delivery (0600)",
)
def test_d13_a_file_for_all_to_read(story):
    for name, mode in (("read", 0o644), ("written", 0o666)):
        story.add(name, FOREIGN).chmod(mode)
    story.start().settle()
    assert {story.destinations[name].stat().st_mode & 0o777 for name in ("read", "written")} == {0o600}


def on_tmpfs(story, *options):
    """Let destination ``one`` be on a file system of its own, with what stands there."""
    place = story.destinations["one"].parent
    story.opened.enter_context(mount("-t", "tmpfs", *options, "tmpfs", place))
    place.chmod(0o755)
    story.put(FOREIGN)
    return place


@row(
    "D14",
    provoked="the file system is read-only; later it is not",
    holds="refused as what it is, with a hint at ReadWritePaths=; logged in once it can be written",
)
def test_d14_a_read_only_file_system(story):
    place = on_tmpfs(story)
    shell(f"mount -o remount,ro {place}")
    story.start().fails("read_only", "EROFS", "ReadWritePaths=")
    shell(f"mount -o remount,rw {place}")
    story.mended()


@row(
    "D15",
    provoked="the file system is full (a real one); a write or a flush meets with EDQUOT (by strace)",
    holds="the old file is whole, nothing is left beside it, others are served; logged in once there is room",
)
@pytest.mark.parametrize("how", ["full", "write", "fsync"])
def test_d15_no_room(story, couriers, how):
    if how == "full":
        place = on_tmpfs(story, "-o", "size=64k")
        full = place / "full"
        with pytest.raises(OSError, match="No space"):
            full.write_bytes(b"x" * (1 << 20))
        story.start().fails("no_space", "ENOSPC", "df ")
        assert sorted(os.listdir(place)) == ["config.json", "full"]
        full.unlink()
    else:
        need(shutil.which("strace"), "strace")
        only_one(story, couriers, *meeting(how, "error=EDQUOT:when=1"))
        story.start().fails("quota", "EDQUOT", "quota of uid" if how == "write" else "quota")
        assert os.listdir(story.destinations["one"].parent) == ["config.json"]
        couriers.as_it_is()
    story.mended()


def only_one(story, couriers, *words):
    """Run the couriers behind *words*; the fault so hits every destination, but nothing else."""
    story.affects(destination="one")
    story.touches("two")
    couriers.behind(*words)


@row(
    "D16",
    provoked="EIO at the flush of the file, at the exchange, or at the flush of the directory",
    holds="never called a success; the file is the old one or the new one, and whole; tried again",
)
@pytest.mark.parametrize("call", ["fsync:error=EIO:when=1", "renameat2:error=EIO:when=1", "fsync:error=EIO:when=2"])
def test_d16_a_broken_disk(story, couriers, call):
    need(shutil.which("strace"), "strace")
    name, _, what = call.partition(":")
    only_one(story, couriers, *meeting(name, what))
    story.start().fails("io_error", "EIO", "dmesg")
    couriers.as_it_is()
    story.mended()


@row(
    "D17",
    provoked="the file or its directory is immutable or append-only (chattr)",
    holds="refused with the very chattr that mends it; nothing is left beside it",
)
@pytest.mark.parametrize(("what", "flag"), [("file", "i"), ("file", "a"), ("directory", "i")])
def test_d17_an_immutable_file(story, what, flag):
    path = story.destinations["one"] if what == "file" else story.destinations["one"].parent
    done = subprocess.run(["chattr", f"+{flag}", path], check=False, capture_output=True)
    need(done.returncode == 0, "a file system with chattr")
    try:
        story.start().fails("immutable", f"chattr -i -a {path}")
        assert os.listdir(story.destinations["one"].parent) == ["config.json"]
        assert story.destinations["one"].read_bytes() == FOREIGN
    finally:
        subprocess.run(["chattr", "-i", "-a", path], check=True)
    story.mended()


@row(
    "D18",
    provoked="the file has an ACL that lets another user read it",
    holds="the new one has it too, and nobody more may read it than before",
    instead="A SELinux label is carried over in the same way; there is none here.",
)
def test_d18_an_acl(story):
    path = story.destinations["one"]
    done = subprocess.run(["setfacl", "-m", "u:60123:r,g::-,o::-", path], check=False)
    need(done.returncode == 0, "setfacl")
    story.start().settle()
    said = subprocess.run(["getfacl", "-pn", path], capture_output=True, text=True, check=True).stdout
    assert "user:60123:r--" in said
    assert "group::---" in said
    assert "other::---" in said


@row(
    "D19",
    provoked="the file server that the home is on answers nothing any more (FUSE without a server)",
    holds="the courier is given up at its deadline, nobody else waits for it; logged in once it is mended",
)
def test_d19_a_dead_file_server(story):
    place = story.destinations["one"].parent
    story.out_of_reach.add("one")
    with dead_server(place):
        story.start()
        story.until(lambda: story.state(SOUND, "two") == "in_place", "the others")

        def given_up():
            return story.error(SOUND, "one")["code"] in ("deadline", "file_server")

        story.until(given_up, "the courier, given up", 60)
        story.hindered.add(story.label("one"))
        story.hold()
    story.out_of_reach.clear()
    story.mended()


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
