import json
import os
import stat
import subprocess
from collections import Counter
from datetime import timedelta

import pytest

from ecrlogind.core.codec import decode
from ecrlogind.core.dockerconfig import Trouble, digest
from ecrlogind.core.wire import LONGEST_REPORT, Report, Was
from ecrlogind.courier.clock import Deadline
from ecrlogind.courier.errand import Visit
from tests.support.courier import HOST, OTHER, auth, command, config
from tests.support.need import need


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def codes(report):
    return [note.code for note in report.notes]


def test_a_first_login_makes_the_directory_and_the_file_for_the_user_alone(home):
    report = home.send()

    assert home.auths() == {HOST: "new"}
    assert (mode(home.docker), mode(home.config)) == (0o700, 0o600)
    assert home.beside() == []
    assert report == Report(found=report.found, changed=True)
    assert (report.found[HOST].was, report.found[HOST].is_ours) == (Was.ABSENT, True)


def test_a_login_goes_in_beside_the_others(home):
    home.write(config(**{"quay.io": "theirs", HOST: "old"}))

    report = home.send(delivered={HOST: (digest(auth("old")),)})

    assert home.auths() == {"quay.io": "theirs", HOST: "new"}
    assert home.beside() == []
    assert report.changed
    assert report.found[HOST].was is Was.OUTDATED


def test_a_look_at_what_is_right_writes_nothing(home):
    home.send()
    before = home.config.stat()

    report = home.send()

    assert not report.changed
    assert report.found[HOST].was is Was.OURS
    assert home.config.stat() == before


def test_a_foreign_login_is_left_and_described(home):
    text = config(**{HOST: "job"})
    home.write(text)

    report = home.send()

    assert home.config.read_text() == text
    assert not report.changed
    found = report.found[HOST]
    assert (found.was, found.is_ours, found.digest, found.ends_at) == (Was.FOREIGN, False, digest(auth("job")), None)


def test_a_foreign_login_goes_at_the_first_delivery_or_when_it_is_expelled(home):
    home.write(config(**{HOST: "job", OTHER: "job"}))

    report = home.send({HOST: "new", OTHER: "new"}, replace=(HOST,), expelled={OTHER: digest(auth("job"))})

    assert home.auths() == {HOST: "new", OTHER: "new"}
    assert report.found[HOST].is_ours
    assert report.found[HOST].was is Was.FOREIGN


def test_our_logins_are_taken_out_and_only_ours(home):
    home.write(config(**{HOST: "ours", OTHER: "job", "quay.io": "theirs"}))

    report = home.send({}, remove=(HOST, OTHER), delivered={HOST: (digest(auth("ours")),), OTHER: ()})

    assert home.auths() == {OTHER: "job", "quay.io": "theirs"}
    assert report.changed
    assert report.found[OTHER].digest == digest(auth("job"))


def test_taking_out_of_a_home_that_is_gone_is_done(home):
    home.path.rmdir()

    report = home.send({}, remove=(HOST,), delivered={HOST: ()})

    assert report.refusal is None
    assert report.found[HOST].was is Was.ABSENT
    assert not home.path.exists()


def test_nothing_to_take_out_makes_no_directory(home):
    report = home.send({}, remove=(HOST,))

    assert report.refusal is None
    assert not home.docker.exists()


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_file_is_an_empty_document(home, text):
    home.write(text)

    home.send()

    assert home.auths() == {HOST: "new"}


def test_a_helper_is_named_without_a_secret(home):
    home.send({}, helpers=(HOST,))

    assert json.loads(home.config.read_text()) == {"credHelpers": {HOST: "ecrlogind"}}


def test_a_renewal_says_if_it_went_the_weaker_way(home):
    home.write("{}")

    assert codes(home.send()) == ([Trouble.WEAKER_SWAP] if home.deny else [])


# --- mode, group, ACL, label


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o666, 0o600), (0o600, 0o600), (0o400, 0o400)])
def test_an_existing_file_keeps_its_mode_less_groups_and_others_bits(home, before, after):
    home.write("{}")
    home.config.chmod(before)

    home.send()

    assert mode(home.config) == after


def test_a_file_that_says_the_right_thing_to_everybody_is_closed_without_being_written(home):
    home.send()
    home.config.chmod(0o644)
    before = home.config.stat()

    report = home.send()

    assert report.changed
    assert mode(home.config) == 0o600
    assert (home.config.stat().st_mtime_ns, home.config.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert not home.send().changed


def test_the_settings_mode_is_the_files(home):
    home.send(mode=0o640)
    assert mode(home.config) == 0o640

    home.send(mode=0o600)
    assert mode(home.config) == 0o600


def test_the_file_keeps_its_group(home):
    need(os.geteuid() == 0, "root, for a group that is not the user's")
    home.write("{}")
    os.chown(home.config, -1, 60_123)

    # Root without capabilities may not give it away; the group may do nothing with the file then.
    home.send()

    assert mode(home.config) == 0o600


@pytest.mark.system
def test_an_acl_stays_and_grants_the_group_nothing(home):
    home.write("{}")
    done = subprocess.run(["setfacl", "-m", "u:60123:r,g::r,o::r", home.config], check=False)
    need(done.returncode == 0, "ACLs on this file system")

    home.send()

    acl = subprocess.run(["getfacl", "-cpn", home.config], check=True, capture_output=True, text=True).stdout
    assert "user:60123:r--" in acl
    assert "group::---" in acl
    assert "mask::r--" in acl
    assert "other::---" in acl
    assert not home.send().changed


@pytest.mark.system
def test_an_acl_that_the_directory_hands_down_does_not_open_a_file_that_had_none(home):
    home.write("{}")
    done = subprocess.run(["setfacl", "-d", "-m", "u:60123:rw", home.docker], check=False)
    need(done.returncode == 0, "ACLs on this file system")

    home.send(mode=0o640)

    acl = subprocess.run(["getfacl", "-cpn", home.config], check=True, capture_output=True, text=True).stdout
    assert "60123" not in acl


@pytest.mark.system
def test_the_selinux_label_goes_with_the_text(plain, mounted):
    """Without SELinux its attribute is any other, to set which takes CAP_SYS_ADMIN instead of the policy's consent.

    So the courier's work is done in this process, which has that.
    """
    label = b"unconfined_u:object_r:container_file_t:s0\0"
    with mounted("-t", "tmpfs", "tmpfs", plain.path):
        plain.write("{}")
        os.setxattr(plain.config, "security.selinux", label)
        before = plain.config.stat().st_ino

        report, _ = Visit(plain.errand(), Deadline(timedelta(seconds=20))).run()

        assert report.changed
        assert plain.config.stat().st_ino != before
        assert os.getxattr(plain.config, "security.selinux") == label


@pytest.mark.system
def test_where_the_label_may_not_be_set_the_login_is_delivered_all_the_same(home, mounted):
    with mounted("-t", "tmpfs", "tmpfs", home.path):
        home.write("{}")
        os.setxattr(home.config, "security.selinux", b"system_u:object_r:user_home_t:s0\0")

        assert home.send().refusal is None
        assert home.auths() == {HOST: "new"}


def test_a_hard_link_keeps_the_old_text_and_is_noted(home):
    home.write("{}")
    os.link(home.config, home.path / "other name")

    report = home.send()

    assert (home.path / "other name").read_text() == "{}"
    assert home.auths() == {HOST: "new"}
    assert set(codes(report)) & {Trouble.HARD_LINK, Trouble.WEAKER_SWAP}


# --- links


def test_links_are_followed_and_stay(home):
    dotfiles = home.path / "dotfiles"
    (dotfiles / "docker").mkdir(parents=True)
    (dotfiles / "docker" / "real.json").write_text("{}")
    home.docker.symlink_to("dotfiles/docker")
    home.config.symlink_to("../docker/real.json")

    home.send()

    assert home.auths() == {HOST: "new"}
    assert home.docker.is_symlink()
    assert home.config.is_symlink()
    assert sorted(os.listdir(dotfiles / "docker")) == ["config.json", "real.json"]


def test_a_link_to_a_file_that_is_not_there_yet_makes_it_there(home):
    home.docker.mkdir()
    home.config.symlink_to("elsewhere.json")

    home.send()

    assert home.config.is_symlink()
    assert (home.docker / "elsewhere.json").is_file()


def test_the_way_to_the_home_may_be_a_link(home, tmp_path):
    (tmp_path / "linked").symlink_to(home.path)

    home.send(path=f"{tmp_path}/linked/.docker/config.json", home=f"{tmp_path}/linked")

    assert home.auths() == {HOST: "new"}


# --- path destinations


def test_missing_directories_of_a_path_get_the_files_mode_plus_x(home, private_path):
    path = private_path / "run" / "docker" / "config.json"

    report = home.send(path=str(path), home=None, mode=0o640)

    need(report.refusal is None, f"a temporary directory that only its owner can change: {report.refusal}")
    assert [mode(each) for each in (path, path.parent, path.parent.parent)] == [0o640, 0o750, 0o750]


def test_a_directory_mounted_elsewhere_keeps_its_inode(home, private_path):
    path = private_path / "config.json"
    before = private_path.stat().st_ino

    report = home.send(path=str(path), home=None)

    need(report.refusal is None, f"a temporary directory that only its owner can change: {report.refusal}")
    assert private_path.stat().st_ino == before


# --- the process


def test_an_answer_is_one_line_and_nothing_else(plain):
    process = plain.start(plain.errand())
    out, err = process.communicate(timeout=30)

    assert out.count(b"\n") == 1
    assert out.endswith(b"\n")
    assert err == b""


def test_a_line_that_is_no_errand_ends_in_an_error_that_quotes_nothing():
    done = subprocess.run(command(), input=b'{"path": "SECRET"}\n', capture_output=True, check=False, cwd="/", env={})

    assert done.returncode != 0
    assert b"WireError" in done.stderr
    assert b"SECRET" not in done.stderr


@pytest.mark.system
def test_a_courier_hides_before_all_else_and_holds_no_capability(plain, tmp_path):
    log = tmp_path / "strace"
    plain.send(prefix=("strace", "-qq", "-o", str(log), "-e", "trace=prctl,capset,read,openat"))

    lines = log.read_text().splitlines()
    hidden = next(i for i, line in enumerate(lines) if "PR_SET_DUMPABLE, SUID_DUMP_DISABLE" in line)
    reads = next(i for i, line in enumerate(lines) if line.startswith("read(0"))
    dropped = next(i for i, line in enumerate(lines) if line.startswith("capset") and line.endswith("= 0"))
    assert hidden < dropped < reads
    assert "effective=0, permitted=0, inheritable=0" in lines[dropped]


@pytest.mark.system
def test_files_are_flushed_before_they_are_exchanged_and_the_directory_after(plain, tmp_path):
    plain.write("{}")
    log = tmp_path / "strace"
    plain.send(prefix=("strace", "-qq", "-y", "-o", str(log), "-e", "trace=fsync,renameat2,unlinkat"))

    calls = [line for line in log.read_text().splitlines() if "/.docker" in line]
    kinds = [line.partition("(")[0] for line in calls]
    assert kinds == ["fsync", "renameat2", "unlinkat", "fsync"]
    assert "/.ecrlogind." in calls[0]
    assert "RENAME_EXCHANGE" in calls[1]
    assert calls[3].partition(">")[0].endswith("/.docker")


def test_a_first_file_is_flushed_and_replaces_nothing(plain, tmp_path):
    need(os.path.exists("/usr/bin/strace"), "strace")
    log = tmp_path / "strace"
    plain.docker.mkdir(mode=0o700)
    plain.send(prefix=("strace", "-qq", "-y", "-o", str(log), "-e", "trace=fsync,renameat2"))

    calls = [line for line in log.read_text().splitlines() if "/.docker" in line]
    assert [line.partition("(")[0] for line in calls] == ["fsync", "renameat2", "fsync"]
    assert "RENAME_NOREPLACE" in calls[1]


def accounts(count):
    return [f"{n:012}.dkr.ecr.eu-west-1.amazonaws.com" for n in range(count)]


def test_two_thousand_registries_in_one_file_are_reported_whatever_stood_there(plain):
    hosts = accounts(2000)
    plain.write(config(**{hosts[7]: "job", hosts[8]: "old", "quay.io": "theirs"}))
    logins = dict.fromkeys(hosts, "x" * 2000)

    report = plain.send(logins, delivered={hosts[8]: (digest(auth("old")),)}, deadline=60)

    assert report.refusal is None
    assert list(report.found) == hosts
    assert Counter(found.was for found in report.found.values()) == {Was.ABSENT: 1998, Was.FOREIGN: 1, Was.OUTDATED: 1}
    assert (report.found[hosts[7]].was, report.found[hosts[7]].is_ours) == (Was.FOREIGN, False)
    assert plain.auths() == {"quay.io": "theirs", **logins, hosts[7]: "job"}


def test_two_thousand_shadowed_logins_are_reported_as_such_if_not_with_every_word(plain):
    hosts = accounts(2000)
    podmans = plain.path / ".config" / "containers" / "auth.json"
    podmans.parent.mkdir(parents=True)
    podmans.write_text(json.dumps({"credHelpers": dict.fromkeys(hosts, "pass")}))

    report = plain.send(dict.fromkeys(hosts, "x"), deadline=60)

    assert report.refusal is None
    assert {found.shadow.code for found in report.found.values()} == {Trouble.SHADOWED_BY_AUTH_JSON}
    assert len(report.found) == 2000


def test_a_thousand_logins_of_somebody_elses_are_more_than_a_report_tells(plain):
    hosts = accounts(1000)
    plain.write(config(**{host: f"job {host}" for host in hosts}))
    errand = plain.errand(dict.fromkeys(hosts, "x"), deadline=60)

    out, err = plain.start(errand).communicate(timeout=60)

    assert len(out) <= LONGEST_REPORT, err
    assert decode(Report, out).refusal.code == Trouble.REPORT_TOO_LONG
