"""D: config.json, and what it is. What is hit is destination ``one``, or a user of this machine."""

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.mounts import mount
from tests.support.need import need
from tests.support.people import person, some_name
from tests.support.rows import row
from tests.support.shell import run, shell
from tests.support.story import FOREIGN, SOUND

pytestmark = pytest.mark.usefixtures("hits_one")


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
