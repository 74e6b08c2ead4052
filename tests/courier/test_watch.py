import os
import subprocess

import pytest

from ecrlogind.core.dockerconfig import Trouble
from ecrlogind.core.wire import Was
from tests.support.courier import HOST, Home, auth, config, is_ready
from tests.support.need import need


def test_a_delivery_leaves_a_watch_that_is_quiet(home):
    for _ in range(2):  # the first writes, the second only looks
        _, descriptor = home.watch()
        assert not is_ready(descriptor)


def removed(home):
    home.config.unlink()


def renamed_away(home):
    home.config.rename(home.docker / "other")


def renamed_over(home):
    (home.docker / "temporary").write_text("{}")
    (home.docker / "temporary").rename(home.config)


def written_in_place(home):
    home.config.write_text("{}")


def appended_to(home):
    with home.config.open("a") as file:
        file.write(" ")


def made_readable(home):
    home.config.chmod(0o644)


def logged_out(home):
    need(os.path.exists("/usr/local/bin/docker") or os.path.exists("/usr/bin/docker"), "the docker CLI")
    subprocess.run(["docker", "--config", home.docker, "logout", HOST], check=True, capture_output=True)


def directory_moved(home):
    home.docker.rename(home.path / "docker.bak")


def directory_replaced(home):
    (home.path / "new").mkdir()
    home.docker.rename(home.path / "docker.bak")
    (home.path / "new").rename(home.docker)


def directory_removed(home):
    home.config.unlink()
    home.docker.rmdir()


def home_moved(home):
    home.path.rename(home.path.with_name("home.bak"))


@pytest.mark.parametrize(
    "change",
    [
        removed,
        renamed_away,
        renamed_over,
        written_in_place,
        appended_to,
        made_readable,
        logged_out,
        directory_moved,
        directory_replaced,
        directory_removed,
        home_moved,
    ],
)
def test_one_change_wakes_the_keeper_once_and_a_look_puts_it_right(home, change):
    _, descriptor = home.watch()

    change(home)

    assert is_ready(descriptor, within=2)
    if home.path.exists():
        _, again = home.watch()
        assert home.auths()[HOST] == "new"
        assert not is_ready(again)


def test_what_else_goes_on_in_the_directory_wakes_nobody(home):
    _, descriptor = home.watch()

    (home.docker / "buildx").mkdir()
    (home.docker / ".token_seed").write_text("x")
    (home.docker / ".token_seed").unlink()
    (home.path / "other").write_text("x")
    home.config.read_text()

    assert not is_ready(descriptor)


def test_a_replaced_link_wakes_the_keeper(home):
    (home.path / "dotfiles").mkdir()
    (home.path / "dotfiles" / "one.json").write_text("{}")
    home.docker.mkdir()
    home.config.symlink_to("../dotfiles/one.json")
    _, descriptor = home.watch()

    (home.docker / "new").symlink_to("../dotfiles/two.json")
    assert not is_ready(descriptor)
    (home.docker / "new").rename(home.config)

    assert is_ready(descriptor, within=2)


def test_a_change_behind_a_link_wakes_the_keeper(home):
    (home.path / "dotfiles").mkdir()
    home.docker.symlink_to("dotfiles")
    _, descriptor = home.watch()

    (home.path / "dotfiles" / "config.json").unlink()

    assert is_ready(descriptor, within=2)


def test_a_home_that_appears_wakes_the_keeper(tmp_path, deny):
    home = Home(tmp_path / "home" / "user", deny=deny)
    (tmp_path / "home").mkdir()
    report, descriptor = home.watch()
    assert report.refusal.code == Trouble.NO_HOME
    assert not is_ready(descriptor)

    home.path.mkdir()

    assert is_ready(descriptor, within=2)
    assert home.send().refusal is None
    home.close()


def test_a_refused_file_is_watched_until_the_cause_is_gone(home):
    home.write("{ no json")
    report, descriptor = home.watch()
    assert report.refusal.code == Trouble.INVALID_JSON
    assert not is_ready(descriptor)

    home.config.write_text("{}")

    assert is_ready(descriptor, within=2)
    assert home.watch()[0].refusal is None


def test_a_foreign_login_is_watched_until_it_goes(home):
    home.write(config(**{HOST: "job", "quay.io": "x"}))
    report, descriptor = home.watch()
    assert report.found[HOST].was is Was.FOREIGN
    assert not is_ready(descriptor)

    logged_out(home)

    assert is_ready(descriptor, within=2)
    home.watch()
    assert home.auths() == {HOST: "new", "quay.io": "x"}


def test_a_directory_that_stands_in_the_way_is_watched(home):
    home.config.mkdir(parents=True)
    report, descriptor = home.watch()
    assert report.refusal.code == Trouble.NOT_A_FILE

    home.config.rmdir()

    assert is_ready(descriptor, within=2)


def test_a_file_to_be_taken_from_is_watched_although_it_is_not_there(home):
    _, descriptor = home.watch({}, remove=(HOST,))

    home.docker.mkdir()

    assert is_ready(descriptor, within=2)


def test_through_pipes_a_watch_cannot_be_passed_and_the_report_comes_all_the_same(home):
    assert home.send(watch=True).refusal is None


@pytest.mark.system
def test_a_file_that_cannot_be_read_is_watched_by_way_of_its_directory(other_homes):
    theirs = other_homes(61_021)
    for mend in (lambda: os.chown(theirs.config, 61_021, 61_021), theirs.config.unlink):
        theirs.write("{}")
        os.chown(theirs.config, 0, 0)
        report, descriptor = theirs.watch()
        assert report.refusal.code == Trouble.WRONG_OWNER
        assert not is_ready(descriptor)

        mend()

        assert is_ready(descriptor, within=2)


@pytest.mark.system
def test_without_a_free_inotify_instance_the_report_says_so(home):
    home.docker.mkdir()
    report = home.send(
        watch=True, prefix=("strace", "-qq", "-o", "/dev/null", "-e", "inject=inotify_init1:error=EMFILE")
    )

    assert home.auths() == {HOST: "new"}
    assert [note.code for note in report.notes] == [Trouble.NO_WATCH]


@pytest.mark.system
def test_what_changes_before_the_watch_is_armed_is_noticed_by_a_last_look(home, tmp_path):
    home.write(config(**{HOST: "new"}))
    # The courier is held up for a while before it arms: enough for somebody else to log out.
    process = home.start(
        home.errand(watch=True, deadline=20),
        prefix=("strace", "-qq", "-o", tmp_path / "log", "-e", "inject=inotify_init1:delay_enter=1500000:when=1"),
    )
    wait_for(lambda: "inotify_init1" in read(tmp_path / "log"))
    home.config.write_text(config(**{"quay.io": auth("x")}))
    out, err = process.communicate(timeout=30)

    assert process.returncode == 0, err
    assert HOST in home.auths(), out


def read(path):
    return path.read_text() if path.exists() else ""


def wait_for(condition, within=20):
    import time

    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
