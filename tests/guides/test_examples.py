"""The examples by themselves: what the guides show, and whether those who are to read them can."""

import gc
import json
import os
import re
import shutil
import subprocess
import tomllib
import warnings

import hcl2
import jsonschema
import pytest
import yaml

from ecrlogind import cli
from tests.guides import schemas
from tests.guides.reading import EXAMPLES, OTHERS, blocks, commands, guides
from tests.support.need import need

GUIDES = guides()
SHOWN = [(name, block) for name, text in GUIDES.items() for block in blocks(text) if block.example]
# Beside the guides': alerts for Prometheus.
ALONE = {EXAMPLES / "alerts.yml"}


def examples(pattern):
    found = sorted(path for path in EXAMPLES.rglob(pattern) if path not in ALONE)
    assert found, f"no example is called {pattern}"
    return [pytest.param(path, id=str(path.relative_to(EXAMPLES))) for path in found]


@pytest.mark.parametrize(("name", "block"), [pytest.param(*each, id=f"{each[0]}:{each[1].number}") for each in SHOWN])
def test_what_a_guide_shows_is_the_file(name, block):
    assert block.text == block.example.read_text()


def test_every_example_is_shown_by_a_guide_and_every_block_is_an_example_or_commands():
    files = {path for path in EXAMPLES.rglob("*") if path.is_file()} - ALONE
    assert {block.example for _, block in SHOWN} == files

    strays = [
        f"{name}:{block.number}"
        for name, text in GUIDES.items()
        for block in blocks(text)
        if not block.example and block.language != "console"
    ]
    assert strays == []


def test_the_index_names_every_guide():
    named = set(re.findall(r"\]\((\w[\w-]*\.md)\)", GUIDES["README.md"]))

    assert named == (set(GUIDES) | OTHERS) - {"README.md"}


@pytest.mark.parametrize("path", examples("ecrlogind*.toml") + examples("smallest.toml"))
def test_settings_are_read_by_the_program_without_a_word(path, tmp_path, capsys):
    copy = tmp_path / "config.toml"
    copy.write_text(path.read_text())

    code = cli.main(["check", "--config", str(copy), "--state", str(tmp_path)])

    assert (code, *capsys.readouterr()) == (0, "", "")


@pytest.mark.parametrize("path", examples("config*.toml"))
def test_a_runner_s_own_file_has_no_key_that_gitlab_runner_does_not_know(path):
    content = tomllib.loads(path.read_text())

    jsonschema.validate(content, schemas.GITLAB_RUNNER)
    for runner in content["runners"]:
        for variable in runner.get("environment", []):
            name, _, value = variable.partition("=")
            if name == "DOCKER_AUTH_CONFIG":
                assert set(json.loads(value)["credHelpers"].values()) == {"ecrlogind"}


@pytest.mark.parametrize("path", examples("gitlab-ci.yml"))
def test_a_pipeline_has_no_keys_of_aws_and_no_login(path):
    jsonschema.validate(yaml.safe_load(path.read_text()), schemas.GITLAB_CI)
    assert not re.search(r"AWS_|docker login|DOCKER_AUTH_CONFIG|before_script", path.read_text())


def test_the_workflow_has_no_login():
    content = yaml.safe_load((EXAMPLES / "github-actions/workflow.yml").read_text())

    jsonschema.validate(content, schemas.WORKFLOW)
    assert not re.search(r"aws|credentials|login", json.dumps(content).replace("amazonaws.com", ""))


@pytest.mark.parametrize("path", examples("compose.yaml"))
def test_compose_reads_its_file(path):
    jsonschema.validate(yaml.safe_load(path.read_text()), schemas.COMPOSE)
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        done = subprocess.run(["docker", "compose", "-f", path, "config", "--quiet"], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_the_provider_s_configuration_is_what_kubelet_reads():
    jsonschema.validate(
        yaml.safe_load((EXAMPLES / "kubernetes/credential-provider.yaml").read_text()), schemas.KUBELET_PROVIDER
    )


def test_the_policy_of_the_cache_is_what_aws_takes():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its own files open
        import parliament

        gc.collect()

    found = parliament.analyze_policy_string((EXAMPLES / "plain-host/cache-policy.json").read_text()).findings

    assert [str(each) for each in found] == []


@pytest.mark.parametrize("path", examples("*.tf"))
def test_terraform_reads_its_file(path):
    assert hcl2.loads(path.read_text())["module"]
    if program := shutil.which("terraform"):
        done = subprocess.run([program, "fmt", "-check", "-diff", path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", [*examples("*.conf"), *examples("*.service")])
def test_systemd_has_nothing_to_say_against_a_unit(path, tmp_path):
    need(shutil.which("systemd-analyze"), "systemd-analyze")
    unit = tmp_path / "checked.service"
    if path.suffix == ".conf":
        unit.write_text("[Service]\nExecStart=/bin/true\n")
        (tmp_path / "checked.service.d").mkdir()
        shutil.copy(path, tmp_path / "checked.service.d")
    else:
        # It is the unit that is checked, not whether docker is on this machine.
        unit.write_text(re.sub(r"^(Exec\w+)=.*", r"\1=/bin/true", path.read_text(), flags=re.MULTILINE))
    for other in ("ecrlogind", "docker"):
        (tmp_path / f"{other}.service").write_text("[Service]\nExecStart=/bin/true\n")

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],
        env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "checked" in line]
    assert said == []


@pytest.mark.parametrize("path", [EXAMPLES / "github-actions/job-started.sh", EXAMPLES / "buildkite/environment"])
def test_a_script_is_clean(path):
    need(shutil.which("shellcheck"), "shellcheck")
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize("path", examples("*.cron"))
def test_a_line_of_cron_s_has_when_who_and_what(path):
    lines = [line for line in path.read_text().splitlines() if not re.match(r"#|\w+=", line)]
    when = r"(@reboot|(\S+ ){4}\S+)"
    assert lines
    assert all(re.fullmatch(rf"{when} +[a-z]+ +\S.*", line) for line in lines)
    assert path.read_text().endswith("\n")


def test_no_guide_types_a_secret_or_shows_a_place_of_nobody_s():
    for text in GUIDES.values():
        for command in commands(text):
            assert not re.search(r"password(?!-stdin)\s+\S", command.line), command.line
