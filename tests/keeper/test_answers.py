"""The answers on disk: who may read them, and what becomes of them."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ecrlogind.keeper.answers import Answers
from tests.support.need import need

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "444455556666.dkr.ecr.us-east-1.amazonaws.com"
US = os.geteuid()

# Uids that no user database has.
ONE, TWO = 61_000 + os.getpid() % 400, 61_500 + os.getpid() % 400


@pytest.fixture
def state():
    """Return a state directory that every user can reach."""
    with tempfile.TemporaryDirectory(prefix="ecrlogind-answers-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def everything(state):
    return {str(path.relative_to(state / "answers")) for path in (state / "answers").rglob("*")}


def stamps(state):
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (state / "answers").rglob("*")}


def read_as(uid, path):
    """Return what *uid* reads at *path*, None if that is not allowed."""
    as_user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    done = subprocess.run([*as_user, "cat", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "Permission denied" in done.stderr
    return done.stdout if done.returncode == 0 else None


def test_our_own_answers_are_ours_alone(tmp_path):
    assert Answers(tmp_path).publish({(US, HOST): "1\ntext\n"}) == ()

    directory = tmp_path / "answers" / str(US)
    assert (directory / HOST).read_text() == "1\ntext\n"
    assert directory.stat().st_mode & 0o7777 == 0o700
    assert (directory / HOST).stat().st_mode & 0o7777 == 0o600
    assert everything(tmp_path) == {str(US), f"{US}/{HOST}"}


def test_what_stands_there_is_not_written_again(tmp_path):
    answers = Answers(tmp_path)
    answers.publish({(US, HOST): "1\nx\n", (US, OTHER): "1\nx\n"})
    before = stamps(tmp_path)

    answers.publish({(US, HOST): "1\nx\n", (US, OTHER): "1\nx\n"})
    assert stamps(tmp_path) == before

    answers.publish({(US, HOST): "1\nx\n", (US, OTHER): "2\nx\n"})
    changed = {path.name for path, stamp in stamps(tmp_path).items() if before.get(path) != stamp}
    assert changed == {str(US), OTHER}


def test_an_answer_is_replaced_whole_for_who_has_the_old_one_open(tmp_path):
    answers = Answers(tmp_path)
    answers.publish({(US, HOST): "1\nold\n"})
    with (tmp_path / "answers" / str(US) / HOST).open() as reader:
        answers.publish({(US, HOST): "2\nnew\n"})
        assert reader.read() == "1\nold\n"


def test_hosts_and_users_that_are_no_longer_wanted_go(tmp_path):
    answers = Answers(tmp_path)
    answers.publish({(US, HOST): "1\nx\n", (US, OTHER): "1\nx\n"})
    stale = tmp_path / "answers/99999"
    stale.mkdir()
    (stale / HOST).write_text("1\nold\n")
    (tmp_path / "answers" / str(US) / ".new").write_text("left by a keeper that was killed")

    assert answers.publish({(US, HOST): "1\nx\n"}) == ()
    assert everything(tmp_path) == {str(US), f"{US}/{HOST}"}

    assert answers.publish({}) == ()
    assert everything(tmp_path) == set()


def test_a_disk_that_takes_nothing_more_is_a_refusal(tmp_path):
    (tmp_path / "answers").write_text("in the way")

    [refusal] = Answers(tmp_path).publish({(US, HOST): "1\nx\n"})

    assert refusal.code == "answers_unwritable"
    assert str(tmp_path / "answers") in refusal.message


def test_what_cannot_be_removed_is_named_and_holds_nothing_up(tmp_path):
    stale = tmp_path / "answers/99999"
    (stale / "a directory").mkdir(parents=True)

    [refusal] = Answers(tmp_path).publish({(US, HOST): "1\nx\n"})

    assert refusal.code == "answers_unwritable"
    assert f"{stale}/a directory" in refusal.message
    assert (tmp_path / "answers" / str(US) / HOST).exists()


@pytest.mark.parametrize("name", ["../x", ".new", "", "a/b", "UPPER"])
def test_a_host_that_is_no_file_name_is_a_bug_and_not_written(tmp_path, name):
    with pytest.raises(ValueError, match="no file name"):
        Answers(tmp_path).publish({(US, name): "1\nx\n"})
    assert everything(tmp_path) == {str(US)}


@pytest.mark.system
def test_each_user_reads_its_own_answers_and_no_others_and_changes_none(state):
    need(US == 0, "root")

    assert Answers(state).publish({(ONE, HOST): "1\none\n", (TWO, HOST): "1\ntwo\n", (0, HOST): "1\nroot\n"}) == ()

    paths = {uid: state / "answers" / str(uid) / HOST for uid in (0, ONE, TWO)}
    assert {uid: read_as(ONE, path) for uid, path in paths.items()} == {0: None, ONE: "1\none\n", TWO: None}
    assert {uid: read_as(TWO, path) for uid, path in paths.items()} == {0: None, ONE: None, TWO: "1\ntwo\n"}
    for path in (paths[ONE], paths[ONE].parent):
        info = path.stat()
        assert (info.st_uid, info.st_mode & 0o7777) == (0, 0o640 if path.is_file() else 0o750)
    as_one = ["setpriv", f"--reuid={ONE}", f"--regid={ONE}", "--clear-groups", "sh", "-c"]
    for attempt in (f"echo x >{paths[ONE]}", f"rm {paths[ONE]}", f"touch {paths[ONE]}2", f"chmod 644 {paths[ONE]}"):
        assert subprocess.run([*as_one, attempt], capture_output=True, check=False).returncode != 0


@pytest.mark.system
def test_the_group_of_the_keeper_reads_nothing(state):
    need(US == 0, "root")
    Answers(state).publish({(ONE, HOST): "1\none\n"})

    in_roots_group = ["setpriv", f"--reuid={TWO}", "--regid=0", "--clear-groups"]
    done = subprocess.run(
        [*in_roots_group, "cat", state / "answers" / str(ONE) / HOST], capture_output=True, check=False
    )

    assert done.returncode != 0


@pytest.mark.system
@pytest.mark.parametrize(("of_directory", "of_file"), [(0o700, 0o600), (0o705, 0o604)])
def test_rights_that_somebody_changed_are_mended(state, of_directory, of_file):
    need(US == 0, "root")
    answers = Answers(state)
    answers.publish({(ONE, HOST): "1\none\n"})
    path = state / "answers" / str(ONE) / HOST
    path.chmod(of_file)
    path.parent.chmod(of_directory)
    assert (read_as(ONE, path), read_as(TWO, path)) != ("1\none\n", None)

    assert answers.publish({(ONE, HOST): "1\none\n"}) == ()

    assert (read_as(ONE, path), read_as(TWO, path)) == ("1\none\n", None)


@pytest.mark.system
def test_the_acls_are_those_that_the_system_tools_see(state):
    need(US == 0, "root")
    need(shutil.which("getfacl"), "getfacl, from acl")
    Answers(state).publish({(ONE, HOST): "1\none\n"})

    def acl(path):
        command = ["getfacl", "--omit-header", "--numeric", "--absolute-names", path]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    directory = state / "answers" / str(ONE)
    assert acl(directory) == ["user::rwx", f"user:{ONE}:r-x", "group::---", "mask::r-x", "other::---"]
    assert acl(directory / HOST) == ["user::rw-", f"user:{ONE}:r--", "group::---", "mask::r--", "other::---"]


_PUBLISH = """
import sys
from pathlib import Path
from ecrlogind.keeper.answers import Answers
uids = map(int, sys.argv[2:])
for refusal in Answers(Path(sys.argv[1])).publish({(uid, "a.example"): "1\\nx\\n" for uid in uids}):
    print(refusal.code, refusal.message)
"""
REPO = Path(__file__).parents[2]


@pytest.mark.system
def test_without_acls_the_outcome_says_so_and_nothing_is_left_but_roots(state):
    need(US == 0, "root")
    script = 'mount -t ramfs none "$1" && "$2" -c "$3" "$1" 0 "$4" && find "$1" -mindepth 2 -printf "%P\\n"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", state, sys.executable, _PUBLISH, str(ONE)]

    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPO)

    said, *left = done.stdout.splitlines()
    assert said.startswith(f"answers_no_acl the answers for uid {ONE} cannot be opened to that user")
    assert sorted(left) == ["answers/0", "answers/0/a.example"]


@pytest.mark.system
def test_without_root_there_are_answers_for_oneself_only(state):
    need(US == 0, "root")
    for part in ("__init__.py", "core", "keeper"):
        source, copy = REPO / "ecrlogind" / part, state / "package/ecrlogind" / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    mine = state / "mine"
    mine.mkdir(mode=0o700)
    os.chown(mine, ONE, ONE)
    as_one = ["setpriv", f"--reuid={ONE}", f"--regid={ONE}", "--clear-groups"]
    command = [*as_one, "/usr/bin/python3", "-c", _PUBLISH, mine, str(ONE), "0", str(TWO)]

    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=state / "package")

    assert [line.split()[0] for line in done.stdout.splitlines()] == ["answers_other_user"] * 2
    assert everything(mine) == {str(ONE), f"{ONE}/a.example"}


@pytest.mark.system
def test_a_keeper_with_no_capability_can_publish_for_others(state):
    need(US == 0, "root")
    without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]

    done = subprocess.run(
        [*without, sys.executable, "-c", _PUBLISH, state, "0", str(ONE)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPO,
    )

    assert done.stdout == ""
    assert read_as(ONE, state / "answers" / str(ONE) / "a.example") == "1\nx\n"
