"""The caller's logins as a config.json of a job's own."""

import base64
import json

import pytest

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "444455556666.dkr.ecr.us-east-1.amazonaws.com"


def exported(host, directory="job"):
    """Return what was exported as user name and password by host."""
    config = json.loads((host.directory / directory / "config.json").read_text())
    assert config.keys() == {"auths"}
    return {
        name: tuple(base64.b64decode(entry.pop("auth"), validate=True).decode().split(":", 1))
        for name, entry in config["auths"].items()
        if not entry.keys() - {"auth"}
    }


def test_all_logins_of_the_caller_are_exported_for_that_user_alone(host):
    host.hold(HOST, password="one" * 900)
    host.hold(OTHER, password="two")

    done = host.run("ecrlogind-export", "job")

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert exported(host) == {HOST: ("AWS", "one" * 900), OTHER: ("AWS", "two")}
    assert (host.directory / "job").stat().st_mode & 0o7777 == 0o700
    assert (host.directory / "job/config.json").stat().st_mode & 0o7777 == 0o600
    assert [path.name for path in (host.directory / "job").iterdir()] == ["config.json"]


@pytest.mark.parametrize("secret", ["plain", 'a"b\\c/d', "&<>~'$(touch planted)`%s\\", " two  blanks ", "ünï 🔑", ""])
def test_the_users_own_login_goes_first(host, secret):
    host.hold(HOST, password="ours")
    asked = {"ServerURL": HOST, "Username": "me", "Secret": secret}
    text = json.dumps(asked, ensure_ascii=False).replace("&", "\\u0026").replace("<", "\\u003C").replace("~", "\\u007e")
    assert host.helper("store", stdin=text) == ("", 0)

    assert host.run("ecrlogind-export", "job").returncode == 0

    assert exported(host) == {HOST: ("me", secret)}


def test_an_own_login_that_cannot_be_exported_is_named_and_the_others_are_exported(host):
    host.hold(OTHER)
    host.store(HOST, "me", "\u2028")  # json.dumps escapes it

    done = host.run("ecrlogind-export", "job")

    assert (done.returncode, done.stdout) == (1, b"")
    assert HOST.encode() in done.stderr
    assert exported(host) == {OTHER: ("AWS", "password")}


def test_a_login_that_is_missing_is_named_with_its_reason_and_the_others_are_exported(host, denied):
    host.hold(HOST)
    host.refuse(OTHER, denied)

    done = host.run("ecrlogind-export", "job")

    assert (done.returncode, done.stdout) == (1, b"")
    assert f"{OTHER}: access_denied".encode() in done.stderr
    assert exported(host) == {HOST: ("AWS", "password")}


def test_without_any_login_nothing_is_written(host):
    done = host.run("ecrlogind-export", "job")

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == (
        b"ecrlogind: no logins for uid 0 in /run/ecrlogind/answers/0: name the user under destinations\n"
    )
    assert not (host.directory / "job").exists()


def test_an_export_is_replaced_by_the_next_one(host):
    host.hold(HOST, password="one")
    host.run("ecrlogind-export", "job")
    host.hold(HOST, password="two")

    assert host.run("ecrlogind-export", "job").returncode == 0

    assert exported(host) == {HOST: ("AWS", "two")}


@pytest.mark.parametrize("text", ["", "{}", '{\n\t"auths": {}\n}', '{"auths":{},"credsStore":"pass"}', "garbage"])
def test_somebody_elses_config_is_left_as_it_is(host, text):
    host.hold(HOST)
    job = host.directory / "job"
    job.mkdir()
    (job / "config.json").write_text(text)

    done = host.run("ecrlogind-export", "job")

    assert (done.returncode, done.stdout) == (1, b"")
    assert b"is not an export" in done.stderr
    assert (job / "config.json").read_text() == text


@pytest.mark.parametrize("arguments", [[], [""], ["a", "b"], ["--force"], ["--", "a", "b"]])
def test_a_wrong_use_is_answered_with_the_usage(host, arguments):
    done = host.run("ecrlogind-export", *arguments)

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"usage: ecrlogind-export [--state DIR] DIR" in done.stderr


@pytest.mark.parametrize("name", ["two words", "*", "$(touch planted)", "a/b/c", "--"])
def test_a_directory_may_have_any_name(host, name):
    host.hold(HOST)

    assert host.run("ecrlogind-export", "--", f"job {name}").returncode == 0

    assert exported(host, f"job {name}") == {HOST: ("AWS", "password")}
    assert not (host.directory / "planted").exists()


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(host):
    host.hold(HOST)
    (host.directory / "file").write_text("")

    done = host.run("ecrlogind-export", "file/job")

    assert done.returncode == 1
    assert b"ecrlogind: file/job cannot be made\n" in done.stderr
