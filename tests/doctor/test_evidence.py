"""The doctor on evidence: host files put into a tree of their own, and what no test can put this machine into."""

import base64
import json
import os
import re
import shlex
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ecrlogind.core.credential import Secret
from ecrlogind.core.delivery import Account
from ecrlogind.core.wire import Aws, Refusal
from ecrlogind.doctor.checks import CHECKS, judge
from ecrlogind.doctor.evidence import Asked, Dockerd, Evidence, HelperSaid, Keeper, Seen, User
from ecrlogind.doctor.gather import Given, gather
from ecrlogind.doctor.image import Image
from ecrlogind.doctor.report import report, text
from ecrlogind.doctor.trails import trails
from tests.doctor.conftest import HOST, auth
from tests.support.world import settings_of

IMAGE = Image(HOST, "team/app", "v1")
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()
DOCUMENT = {
    "version": 1,
    "verdict": "healthy",
    "ready": True,
    "updated_at": "2026-11-21T11:59:40Z",
    "pid": 1,
    "started_at": "2026-11-21T06:00:00Z",
    "problem": None,
    "registries": [{"name": HOST, "host": HOST, "identity": "host", "state": "issued", "failures": 0, "error": None}],
    "logins": [
        {
            "registry": HOST,
            "host": HOST,
            "destination": f"user:{user}",
            "via": "file",
            "state": "in_place",
            "error": None,
        }
        for user in ("root", "ci", "gitlab-runner")
    ],
}


def user(name="ci", uid=1000, content=None, **more):
    home = "/root" if name == "root" else f"/home/{name}"
    content = {"auths": {HOST: auth("good")}} if content is None else content
    own = f"{home}/.docker/config.json"
    files = (
        Seen(
            own, text=content if isinstance(content, str) else json.dumps(content), uid=uid, mode=stat.S_IFREG | 0o600
        ),
        Seen(f"{home}/.docker", uid=uid, mode=stat.S_IFDIR | 0o700),
        Seen(home, uid=uid, mode=stat.S_IFDIR | 0o750),
        *more.pop("files", ()),
    )
    return User(name, uid, uid, home, files=files, **more)


def evidence(**changes):
    """Return what was gathered on a healthy host, but for *changes*."""
    given = {
        "now": NOW,
        "as_root": True,
        "user": user(),
        "keeper": Keeper("/run/ecrlogind", DOCUMENT, running=True),
        "config": "/etc/ecrlogind/config.toml",
        "others": (user("root", 0), user("gitlab-runner", 998)),
        "programs": {"docker": "29.0.1", "dockerd": "", "podman": ""},
    }
    return Evidence(**given | changes)


def codes(**changes):
    return [finding.code for finding in judge(evidence(**changes))]


def host_with(root, **files):
    """Write *files* below *root* (``__`` for a slash) and gather there, as whoever runs the tests."""
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    home = root / "home"
    (home / ".docker").mkdir(parents=True, mode=0o700, exist_ok=True)
    me = Account("ci", os.geteuid(), os.getegid(), (), str(home))
    given = Given(
        me, (), {"PATH": "/nowhere"}, True, Keeper("/run/ecrlogind"), "/etc/ecrlogind/config.toml", None, (), Aws()
    )
    gathered = gather(given, None, root)
    return evidence(host=gathered.host)


def test_healthy_evidence_has_no_finding():
    assert codes() == []
    assert codes(image=IMAGE, asked=(Asked(("docker",), "AWS", digest="sha256:0"),)) == []


# --- host files, really there


@pytest.mark.parametrize(
    "path",
    [
        "etc__rc_dot_local",
        "etc__cron_dot_d__ecr",
        "var__spool__cron__root",
        "etc__systemd__system__ecr-login_dot_service",
    ],
)
def test_an_old_script_that_still_logs_in(tmp_path, path):
    line = "aws ecr get-login-password --region eu-west-1 | docker login --username AWS --password-stdin x"

    [finding] = judge(host_with(tmp_path, **{path: f"#!/bin/sh\n{line}\n"}))

    assert finding.code == "old_login_script"
    assert path.replace("__", "/").replace("_dot_", ".") in finding.what
    assert judge(host_with(tmp_path, **{path: f"#!/bin/sh\n# {line}\n"})) == ()


def runner(executor, **more):
    lines = [f"{key} = {json.dumps(value)}" for key, value in more.pop("top", {}).items()]
    docker = "".join(f"\n    {key} = {json.dumps(value)}" for key, value in more.items())
    head = "\n  ".join(['name = "one"', f'executor = "{executor}"', *lines])
    return f"concurrent = 4\n[[runners]]\n  {head}\n  [runners.docker]{docker}\n"


def without(*names):
    logins = [row for row in DOCUMENT["logins"] if row["destination"].partition(":")[2] not in names]
    return Keeper("/run/ecrlogind", {**DOCUMENT, "logins": logins}, running=True)


@pytest.mark.parametrize(
    ("executor", "lacking", "code", "home"),
    [
        ("docker", "root", "wrong_home", "root"),
        ("shell", "gitlab-runner", "wrong_home", "gitlab-runner"),
        ("docker-autoscaler", "root", "manager_elsewhere", "root"),
        ("docker+machine", "root", "manager_elsewhere", "root"),
    ],
)
def test_a_runner_that_reads_another_home_than_is_logged_in(tmp_path, executor, lacking, code, home):
    gathered = host_with(tmp_path, **{"etc__gitlab-runner__config_dot_toml": runner(executor)})
    assert judge(gathered) == ()

    [finding] = judge(replace(gathered, keeper=without(lacking)))

    assert finding.code == code
    assert f'{{ user = "{home}" }}' in finding.to_do


def test_a_runner_that_mounts_the_file_instead_of_its_directory(tmp_path):
    config = runner("docker", volumes=["/cache", "/opt/.docker/config.json:/root/.docker/config.json:ro"])

    [finding] = judge(host_with(tmp_path, **{"etc__gitlab-runner__config_dot_toml": config}))

    assert finding.code == "file_mounted"
    assert finding.to_do == "mount its directory, /opt/.docker, in its place"


def test_a_runner_that_carries_a_login_in_its_settings(tmp_path):
    variable = "DOCKER_AUTH_CONFIG=" + json.dumps({"auths": {HOST: auth("old")}})
    config = runner("docker", top={"environment": [variable]})

    gathered = host_with(tmp_path, **{"etc__gitlab-runner__config_dot_toml": config})

    assert [finding.code for finding in judge(gathered)] == ["docker_auth_config_in_runner"]
    gitlab = trails(replace(gathered, image=IMAGE))[-1]
    assert gitlab.client == "gitlab-runner"
    assert gitlab.login.where == "DOCKER_AUTH_CONFIG in config.toml"


def test_a_runner_whose_settings_name_our_helper_is_in_order(tmp_path):
    variable = "DOCKER_AUTH_CONFIG=" + json.dumps({"credHelpers": {HOST: "ecrlogind"}})
    config = runner("docker", top={"environment": [variable]})

    assert judge(host_with(tmp_path, **{"etc__gitlab-runner__config_dot_toml": config})) == ()


def test_a_unit_that_carries_a_login(tmp_path):
    unit = '[Service]\nEnvironment=DOCKER_AUTH_CONFIG={"auths":{}}\n'

    [finding] = judge(host_with(tmp_path, etc__systemd__system__runner_dot_service_dot_d__10_dot_conf=unit))

    assert finding.code == "docker_auth_config_in_unit"
    assert "/etc/systemd/system/runner.service.d/10.conf" in finding.to_do


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("ProtectHome=yes", "sandbox_breaks"),
        ("User=nobody", "sandbox_breaks"),
        ("NoNewPrivileges=no", "sandbox_lifted"),
        ("PrivateNetwork=false", "sandbox_lifted"),
        ("ReadOnlyPaths=", "sandbox_lifted"),
    ],
)
def test_a_drop_in_that_breaks_or_lifts_the_sandbox(tmp_path, line, code):
    path = "etc__systemd__system__ecrlogind_dot_service_dot_d__local_dot_conf"

    assert [finding.code for finding in judge(host_with(tmp_path, **{path: f"[Service]\n{line}\n"}))] == [code]
    harmless = "[Service]\nReadWritePaths=/data\nEnvironment=HTTPS_PROXY=x\n"
    assert judge(host_with(tmp_path, **{path: harmless})) == ()


def test_what_selinux_denied(tmp_path):
    # As ausearch -m avc prints it on a host whose policy has no room for us.
    line = (
        'type=AVC msg=audit(1763726400.123:456): avc:  denied  { write } for  pid=4242 comm="ecrlogind" '
        'name="config.json" dev="nvme0n1p1" ino=1337 scontext=system_u:system_r:init_t:s0 '
        "tcontext=unconfined_u:object_r:user_home_t:s0 tclass=file permissive=0\n"
    )

    [finding] = judge(host_with(tmp_path, var__log__audit__audit_dot_log=line * 3))

    assert finding.code == "selinux_denied"
    assert finding.what == "SELinux denied ecrlogind to write config.json"


# --- evidence


def test_a_daemon_that_hangs():
    old = {**DOCUMENT, "updated_at": "2026-11-21T11:30:00Z"}

    assert codes(keeper=Keeper("/run/ecrlogind", old, running=True)) == ["silent"]


def test_a_daemon_that_is_still_starting():
    starting = {**DOCUMENT, "ready": False}

    assert codes(keeper=Keeper("/run/ecrlogind", starting, running=True)) == ["not_ready"]


@pytest.mark.parametrize(
    "code",
    ["no_network", "dns", "tls", "proxy", "imds_unreachable", "no_role", "throttled", "service_error", "deadline"],
)
def test_the_way_to_aws_goes_by_the_name_that_status_has_for_it(code):
    error = {"code": code, "message": "it is so", "hint": "mend it"}
    rows = [
        {**DOCUMENT["registries"][0], "host": host, "error": error, "state": "failing"} for host in (HOST, "b.example")
    ]

    [finding] = judge(evidence(keeper=Keeper("/r", {**DOCUMENT, "registries": rows}, running=True)))

    assert finding.code == code
    assert finding.what == f"{HOST}, b.example: it is so"
    assert finding.to_do == "mend it"


def test_a_delivery_that_failed_is_told_where_nothing_explains_it():
    error = {"code": "no_space", "message": "/home/ci/.docker: No space left on device", "hint": "make room: df"}
    rows = [{**DOCUMENT["logins"][1], "state": "failed", "error": error}]

    assert codes(keeper=Keeper("/r", {**DOCUMENT, "logins": rows}, running=True)) == ["no_space"]


def test_a_user_that_does_not_exist_yet_is_no_finding():
    error = {"code": "no_user", "message": "there is no user later on this host", "hint": "create it"}
    rows = [{**DOCUMENT["logins"][1], "destination": "user:later", "state": "pending", "error": error}]
    given = evidence(keeper=Keeper("/r", {**DOCUMENT, "logins": rows}, running=True))

    assert judge(given) == ()
    assert "user:later: there is no user later on this host" in report([given])["notes"][0]


def test_a_login_that_ends_before_now_by_its_own_words():
    password = base64.b64encode(json.dumps({"payload": "x", "expiration": int(NOW) - 7200}).encode()).decode()
    old = user(content={"auths": {HOST: auth(password)}})

    [finding] = judge(evidence(user=old, image=IMAGE, programs={"docker": "29.0.1"}))

    assert finding.code == "login_expired"
    assert "expired 2.0 hours ago" in finding.what


def test_layers_that_cannot_be_reached_though_the_manifest_can():
    lost = Refusal("no_network", "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com:443 no answer", "")
    asked = Asked(("docker",), "AWS", digest="sha256:0", no_layers=lost)

    assert codes(image=IMAGE, asked=(asked,)) == ["layers_unreachable"]


@pytest.mark.parametrize("code", ["no_network", "dns", "tls", "proxy", "deadline"])
def test_a_registry_that_cannot_be_asked(code):
    asked = Asked(("docker",), "AWS", refusal=Refusal(code, "it is so", "mend it"))

    assert codes(image=IMAGE, asked=(asked,)) == [f"registry_{code}"]


def test_an_import_into_a_pull_through_cache_that_is_denied():
    who = "arn:aws:sts::111122223333:assumed-role/ci/i-0"
    said = f"{HOST}: User: {who} is not authorized to perform: ecr:BatchImportUpstreamImage on resource: x"
    asked = Asked(("docker",), "AWS", refusal=Refusal("pull_denied", said, ""))

    [finding] = judge(evidence(image=Image(HOST, "docker-hub/library/redis", "7"), asked=(asked,)))

    assert finding.code == "pull_through_denied"
    assert "ecr:CreateRepository" in finding.to_do


PROXY = "http://dockerd:secret@proxy:3128"


# By hand: what a dockerd said that `docker info --format '{{json .}}'` was asked of, with and without HTTPS_PROXY.
@pytest.mark.parametrize(
    ("code", "proxies", "expected"),
    [
        ("proxy", {"https_proxy": PROXY}, "dockerd_proxy"),
        ("no_network", {"https_proxy": ""}, "dockerd_without_proxy"),
        ("tls", {"https_proxy": ""}, "dockerd_ca"),
    ],
)
def test_dockerd_s_own_way_where_ours_is_open(code, proxies, expected):
    asked = Asked(("docker",), "AWS", refusal=Refusal(code, "it is so", "mend it"), reached_here=True)
    unit = Seen("/etc/systemd/system/docker.service.d/proxy.conf", text=f"[Service]\nEnvironment=HTTPS_PROXY={PROXY}\n")

    given = evidence(image=IMAGE, asked=(asked,), dockerd=Dockerd(proxies), host=(unit,))

    [finding] = judge(given)
    assert finding.code == expected
    assert "secret" not in f"{finding}"
    assert (unit.path in finding.to_do) == (expected == "dockerd_proxy")


def test_a_registry_that_nobody_reaches_is_not_blamed_on_dockerd():
    asked = Asked(("docker",), "AWS", refusal=Refusal("proxy", "it is so", "mend it"))

    assert codes(image=IMAGE, asked=(asked,), dockerd=Dockerd({"https_proxy": PROXY})) == ["registry_proxy"]


# As Amazon's helper says under HTTP_PROXY=http://127.0.0.1:3128: echo HOST | docker-credential-ecr-login get
@pytest.mark.parametrize("no_proxy", ["", "localhost"])
def test_the_metadata_service_is_asked_through_a_proxy(no_proxy):
    said = HelperSaid("ecr-login", HOST, "not_found", said="credentials not found in native keychain")
    proxied = user(
        content={"credHelpers": {HOST: "ecr-login"}},
        helpers=(said,),
        environment={"HTTP_PROXY": "http://127.0.0.1:3128", "no_proxy": no_proxy},
    )

    [finding] = judge(evidence(user=proxied, image=IMAGE))

    assert finding.code == "imds_through_proxy"
    export, _, value = finding.to_do.strip("`").partition("=")
    assert export == "export NO_PROXY"
    cured = replace(proxied, environment={"HTTP_PROXY": "http://127.0.0.1:3128", "NO_PROXY": value})
    assert codes(user=cured, image=IMAGE) == ["shadowed_by_helper"]  # it has none for other reasons


def test_an_old_store_for_every_registry():
    old = user(content={"credsStore": "ecr-login", "auths": {}}, helpers=(HelperSaid("ecr-login", HOST, "login"),))

    assert codes(user=old) == ["old_store"]


def test_our_helper_that_has_nothing_for_this_user():
    said = HelperSaid("ecrlogind", HOST, "not_found", said="credentials not found in native keychain")
    ours = user(content={"credHelpers": {HOST: "ecrlogind"}}, helpers=(said,))

    assert codes(user=ours, image=IMAGE) == ["helper_has_none"]


def test_a_file_that_others_may_write():
    open_file = user()
    first, *rest = open_file.files
    loose = replace(open_file, files=(replace(first, mode=stat.S_IFREG | 0o666), *rest))

    assert codes(user=loose) == ["config_writable_by_others"]


def test_no_login_where_nothing_else_explains_it():
    empty = user(content={"auths": {}})

    assert codes(user=empty, image=IMAGE, programs={"docker": "29.0.1"}) == ["no_login"]


def test_a_user_who_reaches_the_metadata_service_is_told_what_that_means_and_no_more():
    given = evidence(user=user(imds="yes"))

    found = report([given])

    assert found["healthy"]
    assert "can reach the instance metadata service" in found["notes"][0]


# --- the ways of the clients


def where(content, client="docker", image=IMAGE, **more):
    """Return where *client* takes its login from, None for nowhere."""
    programs = {"docker": more.pop("version", "29.0.1"), "podman": "", "gitlab-runner": ""}
    who = user("root", 0, content, **more)
    found = trails(evidence(user=who, others=(), image=image, programs=programs))
    [trail] = [each for each in found if each.client == client]
    return trail.login and trail.login.where.rpartition(", key ")[2]


LOGIN = auth("secret")
KEYS = [HOST, f"https://{HOST}", f"http://{HOST}", f"https://{HOST}/", f"https://{HOST}/v1/", f"https://{HOST}/v2/"]


# Which keys each takes: observed with the real clients (facts, section 2).
@pytest.mark.parametrize("key", KEYS)
def test_twins_of_the_host_are_taken_by_all(key):
    for client in ("docker", "podman", "gitlab-runner"):
        assert where({"auths": {key: LOGIN}}, client) == key


@pytest.mark.parametrize("key", [f"{HOST}:443", HOST.upper(), "*.amazonaws.com", "amazonaws.com"])
def test_what_is_not_the_host_is_taken_by_neither_docker_nor_podman(key):
    assert where({"auths": {key: LOGIN}}) is None
    assert where({"auths": {key: LOGIN}}, "podman") is None


def test_a_namespace_is_more_specific_for_podman_and_gitlab_and_the_bare_host_wins_for_docker():
    content = {"auths": {HOST: LOGIN, f"{HOST}/team": LOGIN}}

    assert where(content, "docker") == HOST
    assert where(content, "podman") == f"{HOST}/team"
    assert where(content, "gitlab-runner") == f"{HOST}/team"


def test_a_helper_for_the_host_comes_before_the_store_and_the_file():
    content = {"auths": {HOST: LOGIN}, "credsStore": "desk", "credHelpers": {HOST: "mine"}}
    said = (
        HelperSaid("mine", HOST, "login", "AWS", Secret("x")),
        HelperSaid("desk", HOST, "not_found"),
    )

    assert where(content, helpers=said) == "docker-credential-mine"
    assert where({**content, "credHelpers": {HOST: ""}}, helpers=said) == HOST
    assert where({**content, "credHelpers": {}}, helpers=said) is None


@pytest.mark.parametrize(("version", "login"), [("28.5.1", HOST), ("29.0.0", None)])
def test_a_helper_that_is_missing_is_forgiven_by_older_docker_alone(version, login):
    assert where({"auths": {HOST: LOGIN}, "credHelpers": {HOST: "gone"}}, version=version) == login


def test_a_name_of_an_image_is_taken_apart_as_docker_does():
    assert Image.parse("redis") == Image("docker.io", "redis", "latest")
    assert Image.parse(f"{HOST}/a/b:v1") == Image(HOST, "a/b", "v1")
    assert Image.parse(f"localhost:5000/a@sha256:{'0' * 64}").reference == f"sha256:{'0' * 64}"


# --- the words

REJECTED = Refusal("invalid_keys", f"{HOST} does not take the credential: 401 Not Authorized", "")


def test_everything_it_says_is_plain_ascii_and_a_line_each():
    given = evidence(
        keeper=without("root", "ci"),
        user=user(content="[]"),
        image=Image(HOST.upper(), "x", "y"),
        others=(user("root", 0, "{"),),
    )

    said = text(report([given]), lambda words, _state: words)

    assert said.isascii()
    found = judge(given)
    assert found
    for finding in found:
        for line in (finding.code, finding.what, finding.why, finding.to_do):
            assert line
            assert "\n" not in line


@pytest.mark.parametrize("asks", [True, False])
def test_our_own_login_is_renewed_at_a_reload_where_the_keeper_asks_registries(asks):
    rejected = Asked(("docker",), "AWS", "/home/ci/.docker/config.json", HOST, refusal=REJECTED)
    settings = settings_of(registries=[HOST], check={"registry": asks})

    [finding] = judge(evidence(image=IMAGE, asked=(rejected,), settings=settings))

    assert finding.code == "credential_rejected"
    assert finding.to_do.startswith(
        "`sudo systemctl reload ecrlogind`" if asks else "set registry = true under [check]"
    )


@pytest.mark.parametrize("key", ["$(touch x)", "a; rm -rf ~", "a'b", "\x1b[2J", "two\nlines", "b\u00fccher.example"])
def test_what_somebody_writes_into_a_file_is_one_word_of_a_command_and_nothing_for_a_terminal(key):
    spoilt = user(content={"auths": {key: {"auth": "%%%"}, f"{HOST}/{key}": auth("old")}})
    [finding] = judge(evidence(user=spoilt))
    assert finding.code == "bad_entry"
    [command] = re.findall(r"`(.+?)`", finding.to_do)
    assert shlex.split(command)[:3] == ["docker", "--config", "/home/ci/.docker"]
    assert len(shlex.split(command)) == 5
    rejected = Asked(("podman",), "AWS", "/home/ci/.docker/config.json", f"{HOST}/{key}", refusal=REJECTED)
    [finding] = judge(evidence(user=user(), image=IMAGE, asked=(rejected,)))
    assert finding.code == "twin_wins"
    [command] = re.findall(r"`(.+?)`", finding.to_do)
    assert len(shlex.split(command)) == 3

    said = text(report([evidence(user=spoilt, image=IMAGE)]), lambda words, _state: words)

    assert said.isascii()
    assert all(line.isprintable() for line in said.splitlines())


def test_every_module_with_a_check_is_listed():
    directory = Path(__file__).parents[2] / "ecrlogind/doctor/checks"
    modules = {path.stem for path in directory.glob("*.py")} - {"__init__"}

    listed = {check.__module__.rpartition(".")[2] for check in CHECKS} | {"logins", "no_login", "rejected"}

    assert listed == modules
