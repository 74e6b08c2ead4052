"""Every case that is refused: by name, with advice, the file untouched; and healed once the cause is gone."""

import os
import re
import shutil
import socket
import subprocess

import pytest

from ecrlogind.core.dockerconfig import Trouble
from tests.support.courier import HOST, Home, auth, config
from tests.support.need import need


def refused(home, code, says, advises, /, **errand):
    """Send a courier that must be refused for *code*, saying and advising so; return its report."""
    report = home.send(**errand)

    assert report.refusal is not None
    assert report.refusal.code == code
    assert re.search(says, report.refusal.message), report.refusal.message
    assert re.search(advises, report.refusal.hint), report.refusal.hint
    for text in (report.refusal.message, report.refusal.hint):
        assert text.isascii()
        assert text.isprintable()
        assert auth("new") not in text
    assert not report.changed
    assert (
        not [name for name in os.listdir(home.docker) if name.startswith(".ecrlogind")]
        if home.docker.is_dir()
        else True
    )
    return report


def healed(home, /, **errand):
    report = home.send(**errand)
    assert report.refusal is None, report.refusal
    assert home.auths()[HOST] == "new"


# --- the text


@pytest.mark.parametrize(
    ("text", "code", "says", "advises"),
    [
        ("{ no json", Trouble.INVALID_JSON, r"config\.json: not valid JSON: .* at line 1 column 3", "mend it"),
        (b'{"auths": "\xff"}', Trouble.INVALID_JSON, "not UTF-8 at byte 11", "mend it"),
        (b"\xef\xbb\xbf{}", Trouble.BYTE_ORDER_MARK, "byte order mark", "sed -i"),
        ("[]", Trouble.WRONG_SHAPE, "not an object", "mend it"),
        ('{"auths": null}', Trouble.WRONG_SHAPE, "auths is not an object", r"make it \{\}"),
        ('{"auths": {}, "auths": {}}', Trouble.DUPLICATE_KEY, "'auths' stands twice", "leave one"),
        ('{"a": ' + "[" * 50_000 + "]" * 50_000 + "}", Trouble.TOO_DEEP, "nested too deep", "move it away"),
        (b" " * (16 * 1024 * 1024 + 1), Trouble.TOO_LARGE, "larger than 16 MiB", "mv .*config.json"),
    ],
    ids=lambda value: value if isinstance(value, Trouble) else "",
)
def test_a_text_that_is_no_config_is_left_as_it_is(home, text, code, says, advises):
    home.write(text)
    before = home.config.stat()

    refused(home, code, says, advises)

    after = home.config.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (before.st_ino, before.st_mtime_ns, before.st_mode)
    home.write("{}")
    healed(home)


def test_a_file_with_a_hole_is_too_large_before_it_is_read(home):
    home.write("")
    os.truncate(home.config, 1 << 40)

    refused(home, Trouble.TOO_LARGE, "larger than 16 MiB", "mv")

    home.config.unlink()
    healed(home)


# --- what is no file


def fifo(path):
    os.mkfifo(path)


def directory(path):
    path.mkdir()


def listening_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))


def device(path):
    need(os.geteuid() == 0, "root, to make a device")
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))


@pytest.mark.parametrize(
    ("make", "kind"),
    [(fifo, "a FIFO"), (directory, "a directory"), (listening_socket, "a socket"), (device, "a device")],
)
def test_what_is_no_file_is_not_opened(home, make, kind, monkeypatch):
    home.docker.mkdir()
    monkeypatch.chdir(home.docker)
    make(home.config)

    refused(home, Trouble.NOT_A_FILE, kind, f"mv {home.config} {home.config}.away")

    home.config.rename(f"{home.config}.away")
    healed(home)


def test_a_directory_that_is_a_file_is_said_to_be_none(home):
    home.docker.write_text("")

    refused(home, Trouble.NOT_A_DIRECTORY, r"\.docker: Not a directory", "namei -l")

    home.docker.unlink()
    healed(home)


# --- links


def test_links_that_lead_round_are_given_up(home):
    home.docker.mkdir()
    home.config.symlink_to("config.json")

    refused(home, Trouble.LINK_LOOP, "ELOOP", "namei -l")

    home.config.unlink()
    healed(home)


def test_a_link_to_a_missing_directory_makes_nothing_there(home):
    home.docker.symlink_to("not/there")

    refused(home, Trouble.DANGLING_LINK, "leads to .*/home/not, which is not there", "mount or make it")

    assert not (home.path / "not").exists()
    (home.path / "not" / "there").mkdir(parents=True)
    healed(home)


def test_a_link_to_a_directory_is_no_file(home):
    home.docker.mkdir()
    home.config.symlink_to("..")

    refused(home, Trouble.NOT_A_FILE, "leads to a directory", "remove the link")

    home.config.unlink()
    healed(home)


# --- owners and rights, as a real other user

USER = 61_001


@pytest.fixture
def theirs(other_homes):
    """Return the home of a user who is not root."""
    return other_homes(USER)


@pytest.mark.system
def test_a_file_that_belongs_to_root_is_refused_with_the_very_chown(theirs):
    theirs.write("{}")
    os.chown(theirs.config, 0, 0)

    report = refused(theirs, Trouble.WRONG_OWNER, "belongs to uid 0, not to uid 61001", "^chown 61001:61001 ")

    subprocess.run(report.refusal.hint, shell=True, check=True)
    healed(theirs)


@pytest.mark.system
def test_a_directory_that_belongs_to_root_is_refused_with_the_very_chown(theirs):
    theirs.write("{}")
    os.chown(theirs.docker, 0, 0)

    report = refused(theirs, Trouble.PERMISSION_DENIED, r"/\.docker.*EACCES", r"chown 61001:61001 \S+/\.docker$")

    subprocess.run(report.refusal.hint[report.refusal.hint.index("chown") :], shell=True, check=True)
    healed(theirs)


@pytest.mark.system
def test_a_directory_that_may_be_entered_but_not_written_is_refused_with_the_very_chown(theirs):
    theirs.write("{}")
    os.chown(theirs.docker, 0, 0)
    theirs.docker.chmod(0o755)

    report = refused(theirs, Trouble.PERMISSION_DENIED, r"/\.docker.*EACCES", r"chown 61001:61001 \S+/\.docker$")

    subprocess.run(report.refusal.hint[report.refusal.hint.index("chown") :], shell=True, check=True)
    healed(theirs)


@pytest.mark.system
def test_an_unreadable_file_is_refused(theirs):
    theirs.write("{}")
    theirs.config.chmod(0o200)

    refused(theirs, Trouble.PERMISSION_DENIED, r"config\.json.*EACCES", r"chmod u\+r")

    theirs.config.chmod(0o600)
    healed(theirs)


@pytest.mark.system
def test_a_link_to_somebody_elses_file_brings_no_advice_to_give_that_away(theirs):
    theirs.docker.mkdir()
    os.chown(theirs.docker, USER, USER)
    theirs.config.symlink_to("/etc/passwd")

    report = refused(theirs, Trouble.WRONG_OWNER, "/etc/passwd belongs to uid 0", "namei -l")

    assert "chown" not in report.refusal.hint
    theirs.config.unlink()
    healed(theirs)


@pytest.mark.system
def test_a_link_into_a_directory_of_roots_brings_no_advice_to_give_that_away(theirs):
    theirs.docker.symlink_to("/root/secret")

    report = refused(theirs, Trouble.PERMISSION_DENIED, "/root: Permission denied", "namei -l")

    assert "chown" not in report.refusal.hint
    theirs.docker.unlink()
    healed(theirs)


# --- path destinations


def test_a_directory_that_others_may_write_is_refused_with_the_chmod(home, private_path):
    loose = private_path / "loose"
    loose.mkdir()
    loose.chmod(0o775)
    path = loose / "in" / "config.json"

    report = refused(
        home,
        Trouble.UNSAFE_PARENT,
        f"{loose} can be written by others",
        f"^chmod go-w {loose}$",
        path=str(path),
        home=None,
    )

    assert not path.parent.exists()
    subprocess.run(report.refusal.hint, shell=True, check=True)
    assert home.send(path=str(path), home=None).refusal is None


@pytest.mark.system
def test_a_directory_of_somebody_elses_is_refused_with_the_chown(home, private_path):
    theirs = private_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, USER, USER)

    report = refused(
        home,
        Trouble.UNSAFE_PARENT,
        f"{theirs} belongs to uid {USER}",
        f"^chown 0 {theirs}$",
        path=f"{theirs}/config.json",
        home=None,
    )

    subprocess.run(report.refusal.hint, shell=True, check=True)
    assert home.send(path=f"{theirs}/config.json", home=None).refusal is None


def test_in_a_sticky_directory_the_next_one_must_be_there_already(home, private_path):
    sticky = private_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)

    report = refused(
        home,
        Trouble.UNSAFE_PARENT,
        "anybody could make it first",
        f"^install -d -m 0700 -o {os.geteuid()} {sticky}/mine$",
        path=f"{sticky}/mine/config.json",
        home=None,
    )

    subprocess.run(report.refusal.hint, shell=True, check=True)
    assert home.send(path=f"{sticky}/mine/config.json", home=None).refusal is None


def test_in_a_sticky_directory_a_first_file_must_be_there_already(home, private_path):
    sticky = private_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)

    report = refused(
        home,
        Trouble.UNSAFE_PARENT,
        "anybody could make it first",
        "^install -m 0600 -o .* /dev/null ",
        path=f"{sticky}/config.json",
        home=None,
    )

    subprocess.run(report.refusal.hint, shell=True, check=True)
    assert home.send(path=f"{sticky}/config.json", home=None).refusal is None


@pytest.mark.system
def test_in_a_sticky_directory_somebody_elses_next_one_is_refused(home, private_path):
    sticky = private_path / "sticky"
    (sticky / "theirs").mkdir(parents=True)
    sticky.chmod(0o1777)
    os.chown(sticky / "theirs", USER, USER)

    report = refused(
        home,
        Trouble.UNSAFE_PARENT,
        f"theirs belongs to uid {USER}",
        f"^chown -h 0 {sticky}/theirs$",
        path=f"{sticky}/theirs/config.json",
        home=None,
    )

    subprocess.run(report.refusal.hint, shell=True, check=True)
    assert home.send(path=f"{sticky}/theirs/config.json", home=None).refusal is None


@pytest.mark.system
def test_a_group_that_the_owner_is_not_of_is_refused(other_homes):
    theirs = other_homes(USER)

    refused(
        theirs, Trouble.WRONG_GROUP, "uid 61001 is not of the group 60999", "usermod -aG 60999", gid=60_999, mode=0o640
    )

    assert not theirs.config.exists()
    healed(theirs, gid=USER, mode=0o640)


# --- the file system


@pytest.mark.system
@pytest.mark.parametrize("flag", ["i", "a"])
def test_an_immutable_file_is_refused_with_the_chattr(home, flag):
    home.write("{}")
    done = subprocess.run(["chattr", f"+{flag}", home.config], check=False, capture_output=True)
    need(done.returncode == 0, "a file system with chattr")
    try:
        report = refused(home, Trouble.IMMUTABLE, "EPERM", f"^chattr -i -a {home.config}$")
    finally:
        subprocess.run(["chattr", "-i", "-a", home.config], check=True)
    assert report.refusal.hint
    healed(home)


@pytest.mark.system
def test_an_immutable_directory_is_refused_with_the_chattr(home):
    home.write("{}")
    done = subprocess.run(["chattr", "+i", home.docker], check=False, capture_output=True)
    need(done.returncode == 0, "a file system with chattr")
    try:
        refused(home, Trouble.IMMUTABLE, "EPERM", f"^chattr -i -a {home.docker}$")
    finally:
        subprocess.run(["chattr", "-i", home.docker], check=True)
    healed(home)


@pytest.mark.system
def test_a_file_that_is_a_bind_mount_is_refused(home, mounted):
    home.write("{}")
    (home.path / "source").write_text("{}")
    with mounted("--bind", home.path / "source", home.config):
        refused(home, Trouble.BIND_MOUNT, "EBUSY", "mount the directory")
        assert home.config.read_text() == "{}"
    healed(home)


@pytest.mark.system
def test_a_read_only_file_system_is_refused(home, mounted):
    with mounted("-t", "tmpfs", "tmpfs", home.path):
        home.write("{}")
        subprocess.run(["mount", "-o", "remount,ro", home.path], check=True)
        refused(home, Trouble.READ_ONLY, "EROFS", "ReadWritePaths=")
        subprocess.run(["mount", "-o", "remount,rw", home.path], check=True)
        healed(home)


@pytest.mark.system
def test_a_full_file_system_is_refused_and_keeps_the_old_file(home, mounted):
    with mounted("-t", "tmpfs", "-o", "size=64k", "tmpfs", home.path):
        home.write(config(**{"quay.io": "x"}))
        full = home.path / "full"
        with pytest.raises(OSError, match="No space"):
            full.write_bytes(b"x" * (1 << 20))
        refused(home, Trouble.NO_SPACE, "ENOSPC", "df ")
        assert home.auths() == {"quay.io": "x"}
        full.unlink()
        healed(home)


@pytest.mark.system
@pytest.mark.parametrize(
    "said",
    [
        ("write", "EDQUOT", Trouble.QUOTA, "quota of uid"),
        ("fsync", "EIO", Trouble.IO_ERROR, "dmesg"),
        ("fsync", "EDQUOT", Trouble.QUOTA, "quota"),
        ("renameat2", "EIO", Trouble.IO_ERROR, "dmesg"),
        ("pread64", "ESTALE", Trouble.FILE_SERVER, "file server"),
        ("openat", "EMFILE", Trouble.TOO_MANY_FILES, "open files"),
        ("openat", "ENFILE", Trouble.TOO_MANY_FILES, "fs.file-max"),
    ],
    ids=lambda said: " ".join(said[:2]),
)
def test_what_a_system_call_says_is_told_by_name(home, injected, said):
    call, error, code, advises = said
    home.write(config(**{"quay.io": "x"}))

    report = injected(home, call, f"error={error}")

    assert report.refusal.code == code
    assert error in report.refusal.message
    assert re.search(advises, report.refusal.hint)
    assert home.auths() == {"quay.io": "x"}
    healed(home)
    assert home.beside() == []


@pytest.mark.system
def test_a_file_server_that_does_not_answer_is_given_up_at_the_deadline(home, hanging_mount):
    with hanging_mount(home.path):
        report = home.send(deadline=1)

    assert report.refusal.code in (Trouble.DEADLINE, Trouble.FILE_SERVER)
    assert re.search("did not answer in time|file server", f"{report.refusal.message} {report.refusal.hint}")
    healed(home)


def test_a_home_that_is_not_there_is_said_so(tmp_path, deny):
    home = Home(tmp_path / "nobody", deny=deny)

    refused(home, Trouble.NO_HOME, "nobody is not there", "mount or make it")

    home.path.mkdir()
    healed(home)


def test_a_name_from_hell_forges_no_line(tmp_path, deny):
    home = Home(tmp_path / "a\nb\x1b[31m\u202e'c", deny=deny)
    home.path.mkdir()
    home.write("[]")

    report = refused(home, Trouble.WRONG_SHAPE, r"a\\x0ab\\x1b", "mend it")

    home.write("{}")
    assert "\n" not in report.refusal.message
    healed(home)
    shutil.rmtree(home.path)
