"""Docker's helper, byte for byte. Its exact words are those that docker, podman and docker-py compare."""

import json
import re
import shutil
from pathlib import Path

import pytest

from ecrlogind import __version__
from ecrlogind.core.wire import Refusal

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "444455556666.dkr.ecr.us-east-1.amazonaws.com"
NOT_FOUND = ("credentials not found in native keychain\n", 1)
NO_SERVER = ("no credentials server URL\n", 1)
USAGE = "Usage: docker-credential-ecrlogind <store|get|erase|list|version>\n"
HELD = (f'{{"ServerURL":"{HOST}","Username":"AWS","Secret":"pass word\\\\\\"%s"}}\n', 0)


@pytest.fixture
def keeping(host):
    host.hold(HOST, password='pass word\\"%s')
    return host


@pytest.mark.parametrize(
    "url",
    [
        HOST,
        f"{HOST}\n",
        f"  {HOST}\t\n\n",
        f"\n{HOST}",
        f"https://{HOST}",
        f"https://{HOST}/",
        f"https://{HOST}/v1/",
        f"https://{HOST}/v2/",
        f"http://{HOST}",
        f"{HOST}/app",
        f"{HOST}/team/app:tag",
        f"{HOST}:443",
        f"https://{HOST}:443/v2/",
    ],
)
def test_get_gives_the_login_under_every_spelling_of_the_registry(keeping, url):
    assert keeping.helper("get", stdin=url) == HELD


@pytest.mark.parametrize(
    "url",
    [
        HOST.upper(),
        f"{HOST}.",
        f".{HOST}",
        f"{HOST}:5000",
        f"user@{HOST}",
        f"{HOST}?x",
        f"HTTPS://{HOST}",
        f"ftp://{HOST}",
        f"https:// {HOST}",
        f"{HOST} {OTHER}",
        f"{HOST}\n{OTHER}",
        f"{HOST}\r",
        f"../0/{HOST}",
        f"./{HOST}",
        f"/{HOST}",
        "..",
        "../../../../../../etc/passwd",
        "/etc/passwd",
        "*",
        "?" * len(HOST),
        "[0-9]*",
        "111122223333*",
        "-n",
        "-e",
        "--",
        "%s%n",
        "\\",
        "\\0",
        '"',
        "'",
        "$HOME",
        "$(touch planted)",
        "`touch planted`",
        "; touch planted",
        "| touch planted",
        "& touch planted",
        "> planted",
        "x\ntouch planted",
        "${IFS}",
        "~",
        "!!",
        "#",
        "\x1b[31m",
        "höst.example",
        b"\xff\xfe",
        "index.docker.io",
        "https://index.docker.io/v1/",
        "x" * 10_240,
        f"{HOST}/".replace("/", "x" * 10_240),
        "a." * 5_120,
    ],
)
def test_get_finds_nothing_for_what_is_no_host_of_ours(keeping, url):
    assert keeping.helper("get", stdin=url) == NOT_FOUND
    assert not (keeping.directory / "planted").exists()


def test_get_takes_a_very_long_path_like_any_other(keeping):
    assert keeping.helper("get", stdin=f"https://{HOST}/{'x' * 10_240}") == HELD


def test_get_passes_over_nul_bytes_as_shells_do(keeping):
    assert keeping.helper("get", stdin=b"\0".join([HOST[:5].encode(), HOST[5:].encode(), b""])) == HELD
    assert keeping.helper("get", stdin=b"\0") == NO_SERVER


@pytest.mark.parametrize("action", ["get", "erase"])
@pytest.mark.parametrize("url", ["", "\n", " \t\n \n"])
def test_an_empty_server_is_an_error_that_clients_know(keeping, action, url):
    assert keeping.helper(action, stdin=url) == NO_SERVER


@pytest.mark.parametrize("arguments", [[], ["get", "get"], ["get", ""], ["--state", "/x"], ["", ""]])
def test_anything_but_one_argument_is_answered_with_the_usage(keeping, arguments):
    assert keeping.helper(*arguments, stdin=HOST) == (USAGE, 1)


@pytest.mark.parametrize(
    "action", ["", "GET", "get ", "foo", "-x", "*", "../get", "get_login", "x;touch planted", "%s"]
)
def test_an_unknown_action_is_named(keeping, action):
    assert keeping.helper(action) == (f"docker-credential-ecrlogind: unknown action: {action}\n", 1)
    assert not (keeping.directory / "planted").exists()


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_the_usage(host, option):
    assert host.helper(option) == (USAGE, 0)


@pytest.mark.parametrize("option", ["version", "--version", "-v"])
def test_version_is_that_of_the_package(host, option):
    assert host.helper(option) == (f"docker-credential-ecrlogind (ecrlogind) {__version__}\n", 0)


def test_state_may_stand_before_the_action(host):
    host.hold(HOST)
    (host.directory / "elsewhere").mkdir()

    assert host.helper("--state", "elsewhere", "get", stdin="example.com") == NOT_FOUND
    assert host.helper("--state=/run/ecrlogind", "get", stdin=HOST)[1] == 0


def test_state_needs_a_directory(host):
    done = host.run("docker-credential-ecrlogind", "--state", "")

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--state wants a directory" in done.stderr


def test_a_host_without_a_credential_is_an_error_with_the_reason_and_not_unknown(host, denied):
    host.refuse(HOST, denied)

    assert host.helper("get", stdin=HOST) == (
        f"ecrlogind: {HOST}: access_denied: role/ci may not ask for a token; Allow ecr:GetAuthorizationToken.\n",
        1,
    )


@pytest.mark.parametrize("left", [0, -1, -100_000])
def test_a_login_past_its_end_is_refused_however_long_the_keeper_is_dead(host, left):
    answer = host.hold(HOST).read_text().splitlines()[1]
    host.put(HOST, f"{max(1, uptime() + left)}\n{answer}\n")

    text, code = host.helper("get", stdin=HOST)

    assert code == 1
    assert text.startswith(f"ecrlogind: {HOST}: the login ended ")
    assert "was not renewed" in text
    assert host.helper("list") == ("{}\n", 0)


def test_a_login_is_given_until_its_end(host):
    host.hold(HOST, left=30)

    assert host.get(HOST) == ("AWS", "password")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "0",
        "0\n",
        "x\ny\n",
        "-1\n{}\n",
        "99999999999\n",
        "99999999999\n{}\n",
        '99999999999\n{"ServerURL":"x"}\n',
        "99999999999999999999999\nx\n",
        '010\n{"ServerURL":"x","Username":"x","Secret":"x"}\n',
        " 99999999999\nx\n",
    ],
)
def test_a_file_that_is_no_answer_is_an_error_and_not_an_answer(host, text):
    path = host.put(HOST, text)

    said, code = host.helper("get", stdin=HOST)

    assert code == 1
    assert said.startswith(f"ecrlogind: {HOST}: /run/ecrlogind/answers/0/{HOST} ")
    assert path.exists()


def test_an_answer_that_is_a_directory_is_an_error(host):
    (host.state / "answers/0" / HOST).mkdir()

    assert host.helper("get", stdin=HOST)[1] == 1
    assert host.helper("list") == ("{}\n", 0)


def test_a_private_registry_before_the_keeper_has_spoken_is_not_unknown(host):
    (host.state / "status.json").unlink()
    (host.state / "answers/0").rmdir()

    text, code = host.helper("get", stdin=HOST)

    assert code == 1
    assert "the keeper has not spoken yet" in text
    assert host.helper("get", stdin="docker.io") == NOT_FOUND


def test_a_private_registry_is_not_unknown_while_self_is_not_known(host):
    host.tell({"registries": [{"name": "self", "host": None}]})

    text, code = host.helper("get", stdin=HOST)

    assert code == 1
    assert "does not know yet which instance this is" in text
    assert host.helper("get", stdin="public.ecr.aws") == NOT_FOUND


def test_a_user_who_is_not_in_the_settings_has_no_logins(host):
    (host.state / "answers/0").rmdir()

    assert host.helper("get", stdin=HOST) == NOT_FOUND
    assert host.helper("list") == ("{}\n", 0)


def test_list_names_what_is_held_and_only_that(host, denied):
    host.hold(HOST)
    host.hold("public.ecr.aws")
    host.refuse(OTHER, denied)
    host.put("Not-A-Host", host.hold(HOST).read_text())

    text, code = host.helper("list", stdin="unused")

    assert code == 0
    assert text == f'{{"{HOST}":"AWS","public.ecr.aws":"AWS"}}\n'


def test_list_of_nothing_is_an_empty_object(host):
    assert host.helper("list") == ("{}\n", 0)


def test_the_answer_follows_a_renewal(host):
    host.hold(HOST, password="one")
    before = host.get(HOST)
    host.hold(HOST, password="two")

    assert [before, host.get(HOST)] == [("AWS", "one"), ("AWS", "two")]


def test_a_password_of_any_length_comes_whole(host):
    password = "x" * 20_000
    host.hold(HOST, password=password)

    assert host.get(HOST) == ("AWS", password)


@pytest.mark.parametrize("variable", ["ECRLOGIND_STATE", "XDG_RUNTIME_DIR", None])
def test_readers_choose_the_state_directory_as_the_design_says(host, variable):
    host.hold(HOST, password="of root's keeper")
    for place in ("elsewhere", "elsewhere/ecrlogind", "run/user/0/ecrlogind"):
        answers = host.directory / place / "answers/0"
        answers.mkdir(parents=True)
        answers.joinpath(HOST).write_text(host.hold(HOST, password=place).read_text())
    host.hold(HOST, password="of root's keeper")
    env = {variable: str(host.directory / "elsewhere")} if variable else {}

    def password():
        text, _ = host.helper("get", stdin=HOST, env=env)
        return json.loads(text)["Secret"]

    with_root = password()
    (host.state / "status.json").unlink()

    assert [with_root, password()] == {
        "ECRLOGIND_STATE": ["elsewhere", "elsewhere"],
        "XDG_RUNTIME_DIR": ["of root's keeper", "elsewhere/ecrlogind"],
        None: ["of root's keeper", "run/user/0/ecrlogind"],
    }[variable]


def test_nothing_of_the_environment_is_run_or_believed(host):
    host.hold(HOST)
    env = {"ENV": "/planted", "HOME": "$(touch planted)", "IFS": "0e", "CDPATH": "/", "uid": "7", "answers": "/x"}

    text, code = host.helper("get", stdin=HOST, env={**env, "PS4": "$(touch planted)", "state": "/x", "chosen": "/x"})

    assert (json.loads(text)["Secret"], code) == ("password", 0)
    assert not (host.directory / "planted").exists()


@pytest.mark.parametrize("tool", ["systemd-cat", "logger"])
def test_a_trace_tells_the_journal_who_asked_for_what_and_never_the_secret(host, tool):
    tools = host.directory / "tools"
    tools.mkdir()
    (tools / tool).write_text('#!/bin/sh\nprintf "%s: " "$2" >>trace\nexec /bin/cat >>trace\n')
    (tools / tool).chmod(0o755)
    for program in ("unshare", "sh", "mount", "mv", "rm", *host.shell[:1]):
        (tools / program).symlink_to(shutil.which(program))
    host.hold(HOST, password="a secret")
    env = {"ECRLOGIND_TRACE": "1", "PATH": str(tools)}

    host.helper("get", stdin=HOST, env=env)
    host.helper("get", stdin="no.such.host", env=env)
    host.helper("get", stdin="two words\nand lines", env=env)
    host.helper("get", stdin="https://me:a secret@host.example", env=env)
    host.helper("store", stdin='{"ServerURL":"h.example","Username":"me","Secret":"a secret"}', env=env)
    host.helper("get", stdin="h.example", env=env)

    lines = (host.directory / "trace").read_text().splitlines()
    assert [re.sub(r"\d+ s$", "... s", line.split("), ")[1]) for line in lines] == [
        f"get {HOST}: a login that ends in ... s",
        "get no.such.host: credentials not found in native keychain",
        "get no host name: credentials not found in native keychain",
        "get no host name: credentials not found in native keychain",
        "store h.example: kept the user's own login",
        "get h.example: the user's own login",
    ]
    assert all(line.startswith("docker-credential-ecrlogind: uid 0, ") for line in lines)


def test_a_trace_that_cannot_be_written_changes_nothing(host):
    host.hold(HOST)

    text, code = host.helper("get", stdin=HOST, env={"ECRLOGIND_TRACE": "1"})

    assert (json.loads(text)["Secret"], code) == ("password", 0)


def test_the_reason_for_nothing_yet_is_that_nothing_was_issued(host):
    host.refuse(HOST, None)

    assert host.helper("get", stdin=HOST) == (
        f"ecrlogind: {HOST}: pending: no credential has been issued yet; see: ecrlogind status\n",
        1,
    )


def test_a_reason_with_odd_characters_is_one_plain_line(host):
    host.refuse(HOST, Refusal("service_error", "two\nlines \x1b[31mand ü", "none"))

    assert host.helper("get", stdin=HOST)[0] == f"ecrlogind: {HOST}: service_error: two lines ?[31mand ?; none\n"


def uptime():
    return int(Path("/proc/uptime").read_text().partition(".")[0])
