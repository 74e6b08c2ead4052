"""The settings' files: which are read, which are trusted, and what is said of the others."""

import os
import pwd
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ecrlogind.core.settings import Destination, SettingsError
from ecrlogind.keeper.settingsfile import LARGEST, digest, fingerprint, load, read, watched
from tests.support.need import need


@pytest.fixture
def main(tmp_path):
    """Give the path of a main file, in a directory that may be trusted."""
    directory = tmp_path / "etc"
    directory.mkdir(mode=0o755)
    return directory / "config.toml"


@pytest.fixture
def main_of_all():
    """Give the path of a main file that every user can reach, and who is nobody."""
    need(os.geteuid() == 0, "root, to become somebody else")
    # Not tmp_path: the directories above that are closed to others, and are not this test's alone.
    with tempfile.TemporaryDirectory(prefix="settings-") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory) / "config.toml"


@contextmanager
def acting_as(uid):
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


NOBODY = pwd.getpwnam("nobody").pw_uid


def put(path, text):
    path.parent.mkdir(mode=0o755, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o644)
    return path


def problems(path, **more):
    with pytest.raises(SettingsError) as caught:
        load(path, "root", **more)
    return caught.value.problems


def problem(path, **more):
    [only] = problems(path, **more)
    return only


def test_the_main_file_comes_first_then_the_drop_ins_in_name_order(main):
    put(main.parent / "config.d" / "20-b.toml", "log = 'journal'\nregistries = ['public.ecr.aws']")
    put(main.parent / "config.d" / "10-a.toml", "log = 'stderr'")
    put(main.parent / "config.d" / ".hidden.toml", "log = 1")
    put(main.parent / "config.d" / "30-c.toml~", "log = 1")
    put(main, "log = 'stderr'\nregistries = ['self']")

    documents, found = read(main)
    got = load(main, "root")

    assert found == []
    assert [document.file for document in documents] == [
        str(main), str(main.parent / "config.d/10-a.toml"), str(main.parent / "config.d/20-b.toml"),
    ]  # fmt: skip
    assert got.log == "journal"
    assert [entry.name for entry in got.registries] == ["self", "public.ecr.aws"]


def test_the_usual_file_need_not_be_there(main):
    assert load(None, "ci", default=main).destinations == (Destination(user="ci"),)
    assert load(None, "ci", default=main.parent / "none" / "config.toml").destinations == (Destination(user="ci"),)


def test_drop_ins_count_without_a_main_file(main):
    put(main.parent / "config.d" / "a.toml", "registries = ['public.ecr.aws']")

    assert [entry.name for entry in load(None, "ci", default=main).registries] == ["public.ecr.aws"]


def test_a_file_that_was_named_has_to_be_there(main):
    found = problem(main)

    assert (found.file, found.message) == (str(main), "does not exist")


def test_a_relative_path_is_taken_from_where_we_are(main, monkeypatch):
    put(main, "log = 'jurnal'")
    monkeypatch.chdir(main.parent)

    assert problem(main.relative_to(main.parent)).file == str(main)


def test_what_is_wrong_in_all_files_is_said_in_one_go(main):
    put(main, "log = 'jurnal'\ndestinations = [{ user = 'a', registries = ['in-the-broken-file'] }]")
    put(main.parent / "config.d" / "a.toml", "registries = [")
    put(main.parent / "config.d" / "b.toml", "[boot]\ntimout = 1")

    assert sorted((found.file.rpartition("/")[2], found.key) for found in problems(main)) == [
        ("a.toml", ""),
        ("b.toml", "boot.timout"),
        ("config.toml", "log"),
    ]


# --- what TOML itself trips over


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (b"\xef\xbb\xbflog = 'journal'", "begins with a byte order mark", "without BOM"),
        ("log = 'journal'".encode("utf-16"), "is UTF-16", "UTF-8"),
        (b"a = 1\nlog = '\xe9'", "line 2: is not UTF-8", "save it as UTF-8"),
        (b"\n\nlog = '\0'", "line 3: contains a NUL", "take it out"),
        ("destinations = [\n  { user = 'a',\n    via = 'file' },\n]", "line 2, column", "in one line"),
        ("registries = [{\n  host = 'self' }]", "line 1, column", "in one line"),
        ("destinations = [{ path = '/a/b', mode = 0640 }]", "line 1, column", 'in quotes: "0640"'),
        ("[x]\nmode = 0640", "line 2, column 9", 'leading zero; write it in quotes: "0640"'),
        ("account = 012345678901", "line 1, column", '"012345678901"'),
        ("[boot]\ntimeout = 1min", "line 2, column", "a duration goes in quotes"),
        ("log = 'a'\nlog = 'b'\n", "line 2, column", "is there twice"),
        ("[boot]\n[aws]\n[boot]", "line 3, column", "is there twice"),
        ("log = journal", "line 1, column 7", "a text goes in quotes"),
        ("[stop]\nlogout = True", "line 2, column 10", "write true, in lower case"),
        ("registries = ['a' 'b']", "line 1, column", "put a comma"),
        ("registries = ['a'", "(the end)", "close it with ]"),
        ("log = 'journal", "(the end)", "close the text's quotes"),
        ('log = "a\\qb"', "line 1, column", "double the backslash"),
        ('log = "journal\nx"', "line 1, column", "close the text's quotes"),
        ("log 'journal'", "line 1, column", "key = value"),
        ("a = " + "[" * 10_000, "is nested too deeply", "three levels"),
        ("a = " + "{a=" * 10_000, "is nested too deeply", "three levels"),
        ("a = " + "1" * 5000, "thousands of digits", "take it out"),
    ],
    ids=lambda value: ascii(value)[:30],
)  # fmt: skip
def test_what_is_no_toml_is_told_with_its_line_and_what_was_meant(main, text, message, hint):
    put(main, text)

    found = problem(main)

    assert (found.file, found.key) == (str(main), "")
    assert message in found.message
    assert hint in found.hint


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text("ab01[]{}=\"'\\.,#\n\r\t -\u00e9", max_size=60).map(str.encode))
def test_whatever_a_file_holds_it_makes_settings_or_printable_problems(main, content):
    put(main, content)

    try:
        load(main, "root")
    except SettingsError as error:
        found = str(error)
    else:
        found = ""

    assert found.isascii()
    assert found.replace("\n", "").isprintable()


# --- whom to trust


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_may_write_is_not_read(main, mode):
    put(main, "log = 1").chmod(mode)

    found = problem(main)

    assert found.message == "can be written by others"
    assert found.hint == f"run: chmod go-w {main}"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_nor_is_one_in_a_directory_that_others_may_write(main, mode):
    put(main, "log = 1")
    main.parent.chmod(mode)

    found = problem(main)

    assert found.message == f"lies in '{main.parent}', which can be written by others"
    assert found.hint == f"run: chmod go-w {main.parent}"


def test_nor_is_one_below_a_directory_in_which_others_could_swap_it(main, tmp_path):
    put(main, "log = 1")
    tmp_path.chmod(0o777)

    assert problem(main).hint == f"run: chmod go-w {tmp_path}"

    tmp_path.chmod(0o1777)

    assert problem(main).key == "log"


def test_nor_is_a_drop_in_that_others_may_write(main):
    put(main, "log = 'stderr'")
    drop_in = put(main.parent / "config.d" / "a.toml", "log = 1")
    drop_in.chmod(0o666)

    assert problem(main).file == str(drop_in)

    drop_in.chmod(0o644)
    drop_in.parent.chmod(0o777)

    assert problem(main).file == str(drop_in.parent)


@pytest.mark.parametrize("what", ["the file", "the directory", "the link", "the drop-in"])
def test_what_belongs_to_somebody_else_is_not_read(main, tmp_path, what):
    need(os.geteuid() == 0, "root, to give a file to somebody else")
    put(main, "log = 1")
    match what:
        case "the link":
            elsewhere = put(tmp_path / "elsewhere" / "config.toml", "log = 1")
            main.unlink()
            main.symlink_to(elsewhere)
            os.lchown(main, 65534, 65534)
        case "the drop-in":
            put(main, "")
            os.chown(put(main.parent / "config.d" / "a.toml", "log = 1"), 65534, 65534)
        case _:
            os.chown(main if what == "the file" else main.parent, 65534, 65534)

    assert "belongs to uid 65534" in problem(main).message
    assert "chown -h root" in problem(main).hint


def test_one_who_is_not_root_may_have_settings_of_their_own_and_not_anothers(main_of_all):
    put(main_of_all, "log = 1")
    os.chown(main_of_all, NOBODY, -1)

    with acting_as(NOBODY):
        assert problem(main_of_all).key == "log"
    with acting_as(NOBODY - 1):
        assert problem(main_of_all).message == f"belongs to uid {NOBODY}"


def test_links_are_followed_where_everything_on_the_way_can_be_trusted(main, tmp_path):
    target = put(tmp_path / "store" / "real.toml", "log = 1")
    (tmp_path / "current").symlink_to("store")
    main.symlink_to("../current/real.toml")

    assert problem(main).key == "log"

    target.parent.chmod(0o777)

    assert problem(main).message == f"is reached through '{target.parent}', which can be written by others"


def test_a_link_to_nothing_is_told_even_where_no_file_need_be(main):
    main.symlink_to("nowhere")

    assert problem(None, default=main).message == "is a link to 'nowhere', which leads nowhere"


def test_links_in_a_ring_end(main):
    main.symlink_to("config.toml")

    assert problem(main).message == "is reached through too many links"


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory", "device"])
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(main, kind, monkeypatch):
    if kind == "fifo":
        os.mkfifo(main, 0o600)
    elif kind == "directory":
        main.mkdir(mode=0o755)
    elif kind == "device":
        main.symlink_to("/dev/null")
    else:
        monkeypatch.chdir(main.parent)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(main.name)
        main.chmod(0o600)

    found = problem(main)

    assert "is not a regular file" in found.message or "cannot be read" in found.message


def test_a_file_that_is_far_too_large_is_not_read_whole(main):
    put(main, b"")
    os.truncate(main, 1 << 40)

    assert problem(main).message == f"is larger than {LARGEST // 1024} KiB"


def test_a_file_that_may_not_be_read_is_told_and_not_taken_for_missing(main_of_all):
    put(main_of_all, "log = 1").chmod(0o600)

    with acting_as(NOBODY):
        found = problem(None, default=main_of_all)

    assert found.message == "cannot be read: Permission denied"
    assert "run as root" in found.hint


def test_a_directory_that_may_not_be_entered_is_told_once(main_of_all):
    put(main_of_all, "log = 1")
    put(main_of_all.parent / "config.d" / "a.toml", "log = 1")
    main_of_all.parent.chmod(0o700)

    with acting_as(NOBODY):
        found = problem(None, default=main_of_all)

    assert found.message == "cannot be read: Permission denied"


# --- noticing a change


def change_content(main):
    put(main, "log = 'stderr'")


def replace_whole(main):
    new = put(main.parent / "new", "log = 'journal'")
    new.replace(main)


def remove(main):
    main.unlink()


def add_drop_in(main):
    put(main.parent / "config.d" / "a.toml", "")


def mend_mode(main):
    main.chmod(0o600)


def mend_a_parent(main):
    main.parent.parent.chmod(0o711)


@pytest.mark.parametrize("change", [change_content, replace_whole, remove, add_drop_in, mend_mode, mend_a_parent])
def test_every_change_gives_another_fingerprint_and_no_change_the_same(main, change):
    put(main, "log = 'journal'")
    before = fingerprint(main)

    assert fingerprint(main) == before

    change(main)

    assert fingerprint(main) != before


def test_a_change_of_what_a_link_leads_to_gives_another_fingerprint(main, tmp_path):
    target = put(tmp_path / "elsewhere" / "x.toml", "log = 'journal'")
    main.symlink_to(target)
    before = fingerprint(main)

    put(target, "log = 'stderr'")

    assert fingerprint(main) != before


def test_the_file_and_its_drop_ins_are_what_to_watch(main):
    assert watched(main) == (main.parent, main.parent / "config.d")


def test_equal_settings_have_one_digest_however_they_are_written(main):
    put(main, "log = 'journal'\nregistries = ['self']")
    one = digest(load(main, "root"))
    put(main, "registries = [{ account = 'self', region = 'self' }]\n[boot]\ntimeout = '60s'")

    assert digest(load(main, "root")) == one
    assert digest(load(main, "ci")) != one
