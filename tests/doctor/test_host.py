"""The doctor on a host that was really put into a state, asked by the user: it names that cause and no other.

After its advice is followed it finds nothing any more.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from standin import Fault
from tests.doctor.conftest import HOST, IMAGE, auth
from tests.support.keeper import PROGRAM, Keeper, until
from tests.support.need import need
from tests.support.people import person

pytestmark = pytest.mark.system

FAR = "111122223333.dkr.ecr.us-east-1.amazonaws.com"


def test_a_healthy_host_has_no_findings_for_root_and_for_the_user(healthy):
    assert healthy.codes() == []
    assert healthy.codes(as_user=False) == []
    assert healthy.codes("--user", healthy.who.name, as_user=False) == []


def test_an_image_that_can_be_pulled_is_followed_to_its_digest(healthy):
    for found in (healthy.doctor(IMAGE), healthy.doctor(IMAGE, "--user", healthy.who.name, as_user=False)):
        [case] = found["cases"]
        assert case["findings"] == []
        [answer] = case["answers"]
        assert answer["digest"].startswith("sha256:")
        assert "docker" in answer["clients"]
        docker = case["clients"][0]
        assert docker["login"] == f"{healthy.file}, key {HOST}"
        assert healthy.aws.newest_password("eu-west-1") not in json.dumps(found)


def test_what_it_says_to_people_has_the_same_words(healthy):
    with healthy.aws.deny("ecr:BatchGetImage"):
        [finding] = healthy.doctor(IMAGE)["cases"][0]["findings"]
        done = healthy.who.run(
            *healthy.keeper.program, "doctor", "--config", healthy.keeper.config, "--state", healthy.keeper.state, IMAGE
        )

    assert done.returncode == 1
    for word in (finding["code"], finding["what"], finding["why"], finding["to_do"], f"key {HOST}"):
        assert word in done.stdout
    assert done.stdout.isascii()


# --- the daemon and its settings


def test_a_daemon_that_does_not_run(patient):
    patient.keeper.stop()
    assert patient.codes() == ["not_running"]

    patient.keeper.start()
    until(lambda: patient.codes() == [], "health")


def test_settings_that_are_wrong(patient):
    right = patient.keeper.config.read_text()
    patient.keeper.config.write_text(right.replace("registries", "registry", 1))
    found = patient.doctor(as_user=False)["cases"][0]["findings"]
    assert {finding["code"] for finding in found} == {"bad_settings"}
    assert any("did you mean registries?" in finding["to_do"] for finding in found)

    patient.keeper.config.write_text(right)
    assert patient.codes(as_user=False) == []


def test_a_status_that_the_user_may_not_read(patient):
    patient.keeper.state.chmod(0o700)
    assert patient.codes() == ["status_unreadable"]

    patient.keeper.state.chmod(0o755)
    assert patient.codes() == []


# --- AWS and the way to it


def restart(patient, registries=(HOST,), **settings):
    """Start the daemon as after a boot: it holds nothing."""
    patient.keeper.stop()
    shutil.rmtree(patient.keeper.state)
    patient.keeper.write_settings(list(registries), [{"user": patient.who.name}], **settings)
    patient.keeper.start()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(service="ecr", error="AccessDeniedException", status=400), "access_denied"),
        (Fault(service="ecr", error="ThrottlingException", status=400), "throttled"),
        (Fault(service="ecr", error="InvalidSignatureException", status=403), "invalid_keys"),
        (Fault(service="ecr", behaviour="html"), "malformed_answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_aws_refuses(patient, fault, code):
    lift = patient.aws.fault(fault)
    restart(patient)
    patient.keeper.wait_for(states={HOST: "failed"})

    found = patient.doctor(as_user=False)["cases"][0]["findings"]

    lift.lift()
    codes = {finding["code"] for finding in found} - {"not_ready"}
    assert codes == {code} or (code == "invalid_keys" and codes <= {"invalid_keys", "clock_skew"})
    patient.keeper.run("login")
    until(lambda: patient.codes() == [], "health")


def test_a_role_that_may_not_be_assumed(patient):
    role = "arn:aws:iam::111122223333:role/ci"
    lift = patient.aws.deny("sts:AssumeRole")
    restart(patient, [{"host": HOST, "role_arn": role}])
    patient.keeper.wait_for(states={HOST: "failed"})

    [finding] = patient.doctor(as_user=False)["cases"][0]["findings"]

    assert finding["code"] == "assume_role_denied"
    assert role in finding["what"]
    lift.lift()
    patient.keeper.run("login")
    until(lambda: patient.codes() == [], "health")


def test_an_instance_without_a_role(patient):
    patient.aws.instance.state = "no_role"
    restart(patient)
    patient.keeper.wait_for(states={HOST: "failed"})

    assert set(patient.codes(as_user=False)) - {"not_ready"} == {"no_role"}


def test_a_clock_that_is_wrong(patient):
    patient.aws.world.clock_skew = 7200
    restart(patient)
    patient.keeper.wait_for(states={HOST: "failed"})

    assert set(patient.codes(as_user=False)) - {"not_ready"} == {"clock_skew"}


# --- what the registry says to the very credential


def test_a_role_that_may_log_in_and_pull_nothing(healthy):
    with healthy.aws.deny("ecr:BatchGetImage"):
        [finding] = healthy.doctor(IMAGE)["cases"][0]["findings"]

    assert finding["code"] == "pull_denied"
    assert "ecr:BatchGetImage" in finding["what"]
    assert "assumed-role/" in finding["what"]
    assert "ecr:BatchGetImage" in finding["to_do"]
    assert healthy.codes(IMAGE) == []


def test_a_repository_of_another_account_that_does_not_let_us_in(patient):
    other = "222222222222.dkr.ecr.eu-west-1.amazonaws.com"
    restart(patient, [HOST, other])
    patient.keeper.wait_for(states={HOST: "in_place", other: "in_place"})

    with patient.aws.deny("ecr:BatchGetImage", resource="*:222222222222:*"):
        [finding] = patient.doctor(f"{other}/team/app:v1")["cases"][0]["findings"]

    assert finding["code"] == "cross_account_denied"
    assert "account 222222222222" in finding["why"]


def test_a_login_that_was_revoked(patient):
    patient.aws.revoke(region="eu-west-1")

    assert patient.codes(IMAGE) == ["credential_rejected"]


def test_a_login_that_has_expired_at_the_registry(patient):
    patient.aws.world.clock_skew = 13 * 3600

    assert patient.codes(IMAGE) == ["credential_expired"]


def test_a_login_of_another_region(patient):
    restart(patient, [HOST, FAR])
    patient.keeper.wait_for(states={HOST: "in_place", FAR: "in_place"})
    content = patient.content
    content["auths"][HOST] = content["auths"][FAR]
    patient.become(content)
    patient.keeper.wait_for(states={HOST: "foreign", FAR: "in_place"})
    assert patient.codes(IMAGE) == ["wrong_region"]

    del content["auths"][HOST]  # docker logout
    patient.become(content)
    until(lambda: patient.codes(IMAGE) == [], "health")


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (f"{HOST}/team/missing:v1", "no_such_repository"),
        (f"{HOST}/team/app:v2", "no_such_tag"),
        (f"{HOST}/docker-hub/library/redis:7", "pull_through_missing"),
    ],
)
def test_an_image_that_is_not_there(healthy, image, code):
    assert healthy.codes(image) == [code]


def test_layers_that_come_from_where_nobody_answers(healthy):
    digest = "sha256:" + 64 * "1"
    manifest = Fault(service="registry", action="manifest", put={"config": {"digest": digest}})
    away = Fault(service="registry", action="other", behaviour="redirect", location="https://127.0.0.1:1/layer")

    with healthy.aws.fault(manifest):
        with healthy.aws.fault(away):
            [finding] = healthy.doctor(IMAGE)["cases"][0]["findings"]
        assert healthy.codes(IMAGE) == []

    assert finding["code"] == "layers_unreachable"
    assert "127.0.0.1:1" in finding["what"]


# --- how the image is written, and who asks


FIPS = "111122223333.dkr.ecr-fips.eu-west-1.amazonaws.com"
DUAL = "111122223333.dkr-ecr.eu-west-1.on.aws"


@pytest.mark.parametrize(
    ("host", "code"),
    [
        (HOST.upper(), "other_spelling"),
        (f"{HOST}:443", "other_spelling"),
        (FIPS, "other_spelling"),
        (DUAL, "other_spelling"),
        (FAR, "other_region"),
        ("999999999999.dkr.ecr.eu-west-1.amazonaws.com", "not_configured"),
        ("111122223333.dkr.ecr.cn-north-1.amazonaws.com", "wrong_partition"),
    ],
)
def test_an_image_of_a_host_that_there_is_no_login_for(healthy, host, code):
    assert healthy.codes(f"{host}/team/app:v1") == [code]


def test_another_name_of_the_registry_is_logged_in_to_once_the_settings_say_so(patient):
    advice = [patient.doctor(f"{host}/team/app:v1")["cases"][0]["findings"][0]["to_do"] for host in (FIPS, DUAL)]

    restart(patient, [{"host": HOST, "also": [line.split('"')[1] for line in advice]}])

    for host in (FIPS, DUAL):
        until(lambda host=host: patient.codes(f"{host}/team/app:v1") == [], "health, as advised")


def test_a_user_whom_nobody_logs_in(healthy):
    with person() as other:
        done = other.run(
            *healthy.keeper.program,
            "doctor",
            "--config",
            healthy.keeper.config,
            "--state",
            healthy.keeper.state,
            "--json",
            IMAGE,
        )
        found = json.loads(done.stdout)["cases"][0]["findings"]

    assert [finding["code"] for finding in found] == ["not_for_this_user"]
    assert f'{{ user = "{other.name}" }}' in found[0]["to_do"]


# --- the user's environment


def test_a_home_that_is_another_s(healthy, tmp_path):
    [finding] = healthy.doctor(IMAGE, HOME="/nowhere")["cases"][0]["findings"]

    assert finding["code"] == "home_elsewhere"
    assert f"export HOME={healthy.who.home}" in finding["to_do"]


def test_a_docker_config_of_its_own(healthy):
    own = healthy.who.home / "job"
    [finding] = healthy.doctor(IMAGE, DOCKER_CONFIG=str(own))["cases"][0]["findings"]
    assert finding["code"] == "docker_config_elsewhere"

    # As advised, for a job that needs its own.
    own.mkdir()
    os.chown(own, healthy.who.uid, healthy.who.uid)
    assert finding["to_do"].endswith(f"ecrlogind export {own}")


def test_a_docker_config_that_is_the_file(healthy):
    assert healthy.codes(IMAGE, DOCKER_CONFIG=str(healthy.file)) == ["docker_config_is_a_file"]


@pytest.fixture
def new_docker():
    """Return a PATH on which docker is of version 29, and where that docker is."""
    programs = Path(tempfile.mkdtemp(prefix="ecrlogind-bin-", dir="/tmp"))
    programs.chmod(0o755)
    write_program(programs / "docker", 'echo "Docker version 29.0.1, build 1234567"')
    yield f"{programs}:{os.environ['PATH']}"
    shutil.rmtree(programs)


def write_program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("is_strict", [False, True])
def test_a_login_in_the_environment(healthy, new_docker, is_strict):
    variable = {"auths": {HOST: auth("of yesterday")}} | ({"credHelpers": {}} if is_strict else {})

    codes = healthy.codes(IMAGE, PATH=new_docker, DOCKER_AUTH_CONFIG=json.dumps(variable))

    if is_strict:
        assert codes == ["docker_auth_config_refused"]
    else:
        assert codes == ["docker_auth_config_wins", "credential_rejected"]


def test_an_older_docker_does_not_read_that_variable(healthy, new_docker):
    write_program(Path(new_docker.partition(":")[0]) / "docker", 'echo "Docker version 28.2.2, build 1"')
    variable = json.dumps({"auths": {HOST: auth("of yesterday")}})

    assert healthy.codes(IMAGE, PATH=new_docker, DOCKER_AUTH_CONFIG=variable) == []


def test_one_auth_file_that_is_not_there(healthy):
    need(shutil.which("skopeo") or shutil.which("podman"), "skopeo or podman")

    assert healthy.codes(IMAGE, REGISTRY_AUTH_FILE="/nowhere/auth.json") == ["registry_auth_file"]
    assert healthy.codes(REGISTRY_AUTH_FILE="/nowhere/auth.json") == ["registry_auth_file"]
    assert healthy.codes(IMAGE, REGISTRY_AUTH_FILE=str(healthy.file)) == []


# --- the user's files


def test_a_directory_that_root_made(patient):
    os.chown(patient.directory, 0, 0)
    [finding] = patient.doctor(IMAGE)["cases"][0]["findings"]
    # Closed to the user altogether, or only not the user's: root's docker makes it 0700.
    assert finding["code"] == "permission_denied"
    assert finding["what"] == f"{patient.file} may not be read by {patient.who.name}"
    patient.directory.chmod(0o755)
    assert "wrong_owner" in patient.codes(IMAGE)

    command = finding["to_do"].partition(";")[0].removeprefix("sudo ")
    subprocess.run(command.split(), check=True)
    until(lambda: patient.codes(IMAGE) == [], "health")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"auths": ', "invalid_json"),
        ("[]", "wrong_shape"),
        ('{"auths": {}, "auths": {}}', "duplicate_key"),
    ],
)
def test_a_file_that_docker_cannot_read(patient, text, code):
    patient.become(text)
    assert patient.codes(IMAGE) == [code]

    patient.file.rename(patient.file.with_suffix(".away"))
    until(lambda: patient.codes(IMAGE) == [], "health")


def test_one_entry_that_spoils_the_file(patient):
    patient.become(patient.content | {"auths": patient.content["auths"] | {"quay.io": {"auth": "%%%"}}})
    [finding] = patient.doctor(IMAGE)["cases"][0]["findings"]

    assert finding["code"] == "bad_entry"
    assert "quay.io" in finding["what"]
    content = patient.content
    del content["auths"]["quay.io"]
    patient.become(content)
    until(lambda: patient.codes(IMAGE) == [], "health")


def test_a_store_that_has_no_login_and_is_asked_first(patient):
    programs = patient.who.home / "bin"
    programs.mkdir()
    write_program(programs / "docker-credential-desk", "echo credentials not found in native keychain; exit 1")
    patient.become(patient.content | {"credsStore": "desk"})
    path = f"{programs}:{os.environ['PATH']}"
    found = patient.doctor(IMAGE, PATH=path)["cases"][0]
    assert [finding["code"] for finding in found["findings"]] == ["shadowed_by_store"]
    assert found["clients"][0]["anonymous"]

    content = patient.content
    del content["credsStore"]
    patient.become(content)
    until(lambda: patient.codes(IMAGE, PATH=path) == [], "health")


def test_a_helper_that_is_not_installed(patient):
    patient.become(patient.content | {"credHelpers": {HOST: "nowhere"}})

    assert "helper_missing" in patient.codes(IMAGE)
    assert set(patient.codes(IMAGE)) <= {"helper_missing"}


def test_another_login_that_podman_takes_first(patient):
    need(shutil.which("skopeo") or shutil.which("podman"), "skopeo or podman")
    auth_json = patient.who.home / ".config" / "containers" / "auth.json"
    auth_json.parent.mkdir(parents=True)
    auth_json.write_text(json.dumps({"auths": {HOST: auth("of yesterday")}}))
    assert patient.codes(IMAGE) == ["shadowed_by_auth_json", "credential_rejected"]

    auth_json.unlink()
    until(lambda: patient.codes(IMAGE) == [], "health")


def test_what_the_old_helper_left(patient):
    (patient.who.home / ".ecr").mkdir()

    assert patient.codes() == ["old_cache"]


# --- what only root sees


def test_a_file_that_is_mounted_into_a_container_and_has_gone_stale(patient):
    inside = patient.who.home / "inside"
    inside.touch()
    script = f'mount --bind "{patient.file}" "{inside}" && echo && read wait'
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as container:
        try:
            container.stdout.readline()
            assert patient.codes(as_user=False) == []
            fresh = patient.file.with_suffix(".new")
            fresh.write_text(patient.file.read_text())
            os.chown(fresh, patient.who.uid, patient.who.uid)
            fresh.chmod(0o600)
            fresh.rename(patient.file)

            found = patient.doctor(as_user=False)["cases"][0]["findings"]
        finally:
            container.stdin.close()

    assert [finding["code"] for finding in found] == ["stale_mount"]
    assert str(inside) in found[0]["what"]
    assert f"mount the directory {patient.directory}" in found[0]["to_do"]


def test_an_interpreter_that_the_user_cannot_reach(healthy, tmp_path):
    hidden = Keeper(healthy.keeper.directory, healthy.aws, PROGRAM)
    reached = healthy.who.run("test", "-x", PROGRAM[0]).returncode == 0
    need(not reached, "an interpreter that other users cannot reach")

    done = hidden.run("doctor", "--config", str(hidden.config), "--json")

    [finding] = json.loads(done.stdout)["cases"][0]["findings"]
    assert finding["code"] == "interpreter_unreachable"
    assert healthy.who.name in finding["what"]


def test_usage_errors_exit_2(healthy):
    run = healthy.keeper.run
    config = ("--config", str(healthy.keeper.config))
    assert run("doctor", *config, "Not An Image").returncode == 2
    assert run("doctor", *config, "--user", "nobody-of-that-name").returncode == 2
    done = healthy.who.run(*healthy.keeper.program, "doctor", "--user", "root", *config)
    assert done.returncode == 2
    assert "sudo ecrlogind doctor --user root" in done.stderr
