"""The doctor on this very host, really put into a state that a booted one in `test_advice` cannot be put into.

After its advice is followed it finds nothing any more.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.doctor.conftest import HOST, IMAGE, auth
from tests.support.keeper import PROGRAM, Keeper, until
from tests.support.need import need

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


# --- the user's environment


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
        assert codes == ["docker_auth_config_wins"]


def test_an_older_docker_does_not_read_that_variable(healthy, new_docker):
    write_program(Path(new_docker.partition(":")[0]) / "docker", 'echo "Docker version 28.2.2, build 1"')
    variable = json.dumps({"auths": {HOST: auth("of yesterday")}})

    assert healthy.codes(IMAGE, PATH=new_docker, DOCKER_AUTH_CONFIG=variable) == []


def test_one_auth_file_that_is_not_there(healthy):
    need(shutil.which("skopeo") or shutil.which("podman"), "skopeo or podman")

    assert healthy.codes(IMAGE, REGISTRY_AUTH_FILE="/nowhere/auth.json") == ["registry_auth_file"]
    assert healthy.codes(REGISTRY_AUTH_FILE="/nowhere/auth.json") == ["registry_auth_file"]
    assert healthy.codes(IMAGE, REGISTRY_AUTH_FILE=str(healthy.file)) == []


def test_another_login_that_podman_takes_first(patient):
    need(shutil.which("skopeo") or shutil.which("podman"), "skopeo or podman")
    auth_json = patient.who.home / ".config" / "containers" / "auth.json"
    auth_json.parent.mkdir(parents=True)
    auth_json.write_text(json.dumps({"auths": {HOST: auth("of yesterday")}}))
    for each in (auth_json.parents[1], auth_json.parent, auth_json):
        os.chown(each, patient.who.uid, patient.who.uid)
    [finding] = patient.doctor(IMAGE)["cases"][0]["findings"]
    assert finding["code"] == "shadowed_by_auth_json"

    [command] = re.findall(r"`podman (.+)`", finding["to_do"])
    # skopeo shares podman's ways, and is the smaller of them.
    done = patient.who.run("skopeo", *command.split())
    assert done.returncode == 0, done.stderr
    until(lambda: patient.codes(IMAGE) == [], "health")


def test_a_more_specific_login_that_podman_takes_first(patient):
    need(shutil.which("skopeo") or shutil.which("podman"), "skopeo or podman")
    patient.become(patient.content | {"auths": patient.content["auths"] | {f"{HOST}/team": auth("of yesterday")}})
    [finding] = patient.doctor(IMAGE)["cases"][0]["findings"]
    assert finding["code"] == "twin_wins"
    assert f"key {HOST}/team" in finding["what"]

    [command] = re.findall(r"`docker (.+?)`", finding["to_do"])
    done = patient.who.run("docker", *command.split())
    assert done.returncode == 0, done.stderr
    until(lambda: patient.codes(IMAGE) == [], "health")


@pytest.mark.parametrize(
    ("text", "code"), [('{"auths": {}, "auths": {}}', "duplicate_key"), ("\ufeff{}", "byte_order_mark")]
)
def test_a_file_that_clients_read_in_different_ways(patient, text, code):
    patient.become(text)

    assert patient.codes(IMAGE) == [code]


def test_an_image_of_a_host_in_the_wrong_partition(healthy):
    assert healthy.codes("111122223333.dkr.ecr.cn-north-1.amazonaws.com/team/app:v1") == ["wrong_partition"]


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
