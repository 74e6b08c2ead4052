"""`docker login` and `docker logout` where our helper is the store: the user's own logins go first, for a while."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.need import need

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "444455556666.dkr.ecr.us-east-1.amazonaws.com"
NOT_FOUND = ("credentials not found in native keychain\n", 1)
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
TWELVE_HOURS = 43_200


def uptime():
    return int(Path("/proc/uptime").read_text().partition(".")[0])


def put_own(path, *entries):
    """Write own logins as (seconds ago, host, password), or (…, boot) of another boot."""
    path.parent.mkdir(exist_ok=True)
    lines = [
        f'{boot[0] if boot else BOOT} {uptime() - ago} {host} {host} "me" "{password}"\n'
        for ago, host, password, *boot in entries
    ]
    path.write_text("".join(lines))


def test_a_job_gets_its_own_login_until_it_logs_out_and_then_ours_again(host):
    host.hold(HOST, password="ours")
    host.store(HOST, "AWS", "the job's")
    in_between = host.get(HOST)

    assert host.helper("erase", stdin=HOST) == ("", 0)

    assert [in_between, host.get(HOST)] == [("AWS", "the job's"), ("AWS", "ours")]


def test_own_logins_stand_in_the_users_runtime_directory_for_that_user_alone(host):
    host.store(HOST, "me", "mine")

    assert host.own.stat().st_mode & 0o7777 == 0o600
    assert not host.own_at_home.exists()
    assert sorted(path.name for path in host.own.parent.iterdir()) == ["ecrlogind-own"]


def test_own_logins_stand_in_the_home_of_the_user_database_where_there_is_no_runtime_directory(host):
    host.own.parent.rmdir()
    host.store(HOST, "me", "mine")

    assert host.get(HOST) == ("me", "mine")
    assert host.own_at_home.stat().st_mode & 0o7777 == 0o600
    assert host.own_at_home.parent.stat().st_mode & 0o7777 == 0o700
    assert sorted(path.name for path in host.own_at_home.parent.iterdir()) == ["ecrlogind-own"]


def test_get_list_and_erase_look_in_both_places(host):
    put_own(host.own_at_home, (5, HOST, "at home"))
    put_own(host.own, (5, OTHER, "at run"))

    assert host.get(HOST) == ("me", "at home")
    assert host.get(OTHER) == ("me", "at run")
    assert json.loads(host.helper("list")[0]) == {HOST: "me", OTHER: "me"}
    for one in (HOST, OTHER):
        assert host.helper("erase", stdin=one) == ("", 0)
        assert host.helper("get", stdin=one) == NOT_FOUND
    assert not host.own.exists()
    assert not host.own_at_home.exists()


def test_a_new_login_replaces_the_one_that_stood_at_home(host):
    put_own(host.own_at_home, (5, HOST, "old"), (5, OTHER, "other"))

    host.store(HOST, "me", "new")
    host.own.unlink()

    assert host.helper("get", stdin=HOST) == NOT_FOUND
    assert host.get(OTHER) == ("me", "other")


def test_list_shows_both_and_each_host_once(host):
    host.hold(HOST)
    host.hold("public.ecr.aws")
    host.store(HOST, "job", "x")
    host.store("https://index.docker.io/v1/", "hub", "x")

    assert json.loads(host.helper("list")[0]) == {
        HOST: "job",
        "https://index.docker.io/v1/": "hub",
        "public.ecr.aws": "AWS",
    }


@pytest.mark.parametrize(("later", "expected"), [(0, "mine"), (TWELVE_HOURS - 60, "mine"), (TWELVE_HOURS, "ours")])
def test_an_own_login_goes_first_for_twelve_hours(host, later, expected):
    in_time = ["unshare", "--time", "--boottime", str(later), "--fork"]
    need(subprocess.run([*in_time, "true"], check=False).returncode == 0, "time namespaces")
    host.hold(HOST, password="ours", left=later + 3600)
    host.store(HOST, "me", "mine")

    command = [*in_time, *host.command("docker-credential-ecrlogind", "get")]
    done = subprocess.run(command, input=HOST.encode(), capture_output=True, check=True, timeout=60)

    assert json.loads(done.stdout)["Secret"] == expected


def test_an_own_login_of_an_earlier_boot_no_longer_goes_first(host):
    host.hold(HOST, password="ours")
    put_own(host.own_at_home, (0, HOST, "of yesterday", "11111111-2222-3333-4444-555555555555"))

    assert host.get(HOST) == ("AWS", "ours")


def test_old_logins_go_when_the_file_is_written_and_others_stay(host):
    put_own(host.own, (0, "old.example", "x", "another-boot"), (0, OTHER, "other"))

    host.store(HOST, "me", "mine")

    assert [line.split()[2] for line in host.own.read_text().splitlines()] == [OTHER, HOST]


@pytest.mark.parametrize("line", ["", "garbage", f"{BOOT}", f"{BOOT} x {HOST} {HOST} 1 2", f"{BOOT} 01 {HOST}", "\\"])
def test_a_damaged_file_of_own_logins_hides_nothing_of_ours(host, line):
    host.hold(HOST, password="ours")
    host.own.write_text(f"{line}\n")

    assert host.get(HOST) == ("AWS", "ours")
    assert host.helper("list") == (f'{{"{HOST}":"AWS"}}\n', 0)
    assert host.helper("erase", stdin=HOST) == ("", 0)


@pytest.mark.parametrize(
    "spelling", [f"https://{HOST}", f"{HOST}/", f"https://{HOST}/v2/", f"{HOST}:443", f"{HOST}/app"]
)
def test_an_own_login_is_found_and_erased_under_every_spelling_of_its_registry(host, spelling):
    host.store(spelling, "me", "mine")
    assert host.get(HOST) == ("me", "mine")

    assert host.helper("erase", stdin=HOST) == ("", 0)

    assert host.helper("get", stdin=spelling) == NOT_FOUND


@pytest.mark.parametrize(
    ("username", "secret"),
    [
        ("AWS", "x" * 6_000),
        ("<token>", "an identity token"),
        ("with space", " lead and trail "),
        ("a\"b\\c/d'e", "$(touch planted)`touch planted`;%s\\n\\0"),
        ("ünï", "pässwörd 🔑"),
        ("tab\tnew\nline", "\r\x00\x1f\x7f"),
        ("*", "?[a-z]*"),
        ("u", ""),
        ("&<>", "\u2028"),
    ],
)
def test_what_is_stored_comes_back_the_same(host, username, secret):
    host.store(HOST, username, secret)

    assert host.get(HOST) == (username, secret)
    assert json.loads(host.helper("list")[0]) == {HOST: username}
    assert not (host.directory / "planted").exists()


@pytest.mark.parametrize(
    "text",
    [
        f'{{"ServerURL":"{HOST}","Username":"u","Secret":"s"}}',
        f'\n {{ "Secret" : "s" ,\r\n\t"Username":"u","ServerURL":"{HOST}" }} \n\n',
        f'{{"ServerURL":"https:\\/\\/{HOST}\\/v2\\/","Username":"u","Secret":"s"}}',
        f'{{"ServerURL":"{HOST}","Username":"u","Secret":"s","More":"\\"}}","And":{{"a":"b","c":"d"}},"E":{{}}}}',
    ],
)
def test_every_way_to_write_the_same_json_is_understood(host, text):
    assert host.helper("store", stdin=text) == ("", 0)

    assert host.get(HOST) == ("u", "s")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "}",
        "[]",
        "null",
        '"x"',
        "{}x",
        "{}{}",
        '{"a"}',
        '{"a":}',
        '{"a":"b",}',
        '{,"a":"b"}',
        '{"a":"b"',
        '{"a":"b"}}',
        '{"a":"b"}x',
        '{"a":"b"}.END',
        '{"a":"b" "c":"d"}',
        '{"a":"b":"c"}',
        '{"ServerURL":1,"Username":"u","Secret":"s"}',
        '{"ServerURL":{"a":"b"},"Username":"u","Secret":"s"}',
        '{"ServerURL":null,"Username":"u","Secret":"s"}',
        '{"a":{"b":{"c":"d"}}}',
        '{"a":"unterminated}',
        '{"a":"bad \\x escape"}',
        '{"a":"bad \\u12g4"}',
        '{"a":"ends in \\"}',
        '{"a":"control \x01"}',
        '{"a":"a line\nbreak"}',
        "{'a':'b'}",
        "ServerURL=x",
    ],
)
def test_what_is_not_such_json_is_not_stored(host, text):
    said, code = host.helper("store", stdin=text)

    assert (said, code) == ("ecrlogind: store wants one JSON object: ServerURL, Username and Secret\n", 1)
    assert not host.own.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "no credentials server URL\n"),
        ('{"ServerURL":"","Username":"u","Secret":"s"}', "no credentials server URL\n"),
        ('{"ServerURL":"h","Secret":"s"}', "no credentials username\n"),
        ('{"ServerURL":"h","Username":"","Secret":"s"}', "no credentials username\n"),
    ],
)
def test_what_is_missing_is_said_in_the_words_that_clients_know(host, text, said):
    assert host.helper("store", stdin=text) == (said, 1)


@pytest.mark.parametrize("server", ["two words", "tab\\there", 'quote\\"d', "https://", "/", "new\\nline", "ü.example"])
def test_a_server_that_is_no_plain_url_is_not_stored(host, server):
    said, code = host.helper("store", stdin=f'{{"ServerURL":"{server}","Username":"u","Secret":"s"}}')

    assert code == 1
    assert said.startswith("ecrlogind: the server URL of this login cannot be kept")
    assert not host.own.exists()


def test_erasing_what_is_not_there_is_no_error_and_writes_nothing(host):
    host.hold(HOST)
    before = sorted(host.directory.rglob("*"))

    assert host.helper("erase", stdin=HOST) == ("", 0)
    assert host.helper("erase", stdin="../../x $(touch planted)") == ("", 0)

    assert sorted(host.directory.rglob("*")) == before
    assert host.get(HOST) == ("AWS", "password")


def test_erasing_one_login_leaves_the_file_of_the_others_as_it_is(host):
    host.store(OTHER, "me", "other")
    before = host.own.stat()

    host.helper("erase", stdin=HOST)

    after = host.own.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_jobs_that_log_in_at_the_same_time_lose_nothing(plain_host):
    host = plain_host
    hosts = [f"{n:012d}.dkr.ecr.eu-west-1.amazonaws.com" for n in range(12)]
    command = host.command("docker-credential-ecrlogind", "store")
    jobs = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=host.environment()) for _ in hosts
    ]
    for one, job in zip(hosts, jobs, strict=True):
        job.stdin.write(json.dumps({"ServerURL": one, "Username": "me", "Secret": one}).encode())
        job.stdin.close()  # now it goes, beside the others
    for job in jobs:
        with job.stdout as output:
            assert output.read() == b""
        assert job.wait(60) == 0

    assert json.loads(host.helper("list")[0]) == dict.fromkeys(hosts, "me")


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(plain_host):
    host = plain_host
    host.own.mkdir()

    said, code = host.helper("store", stdin=json.dumps({"ServerURL": HOST, "Username": "u", "Secret": "s"}))

    assert (said, code) == ("ecrlogind: /run/user/0/ecrlogind-own cannot be written\n", 1)
    assert sorted(path.name for path in host.own.parent.iterdir()) == ["ecrlogind-own"]
