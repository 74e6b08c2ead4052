"""What stands around the templates: policies, user data, Terraform, CI, and the guide."""

import json
import re
import shutil
import subprocess
import tomllib

import hcl2
import pytest
import yaml

from ecrlogind.core.policy import policies
from tests.core.test_policy import is_known, linter
from tests.support.baking import PACKER, REPO
from tests.support.need import need
from tests.support.world import settings_of

EXAMPLES = PACKER / "examples"
GUIDE = REPO / "docs/guides/packer.md"
POLICIES = sorted((PACKER / "iam").glob("*.json"))


def test_the_instance_profile_is_what_our_own_command_prints_for_the_baked_settings():
    settings = settings_of(**tomllib.loads((PACKER / "rootfs/etc/ecrlogind/config.toml").read_text()))
    printed = json.loads(json.dumps(policies(settings, None)["instance_role"]))
    assert json.loads((PACKER / "iam/instance-profile.json").read_text()) == printed


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_aws_s_own_list_of_actions_knows_each_that_a_policy_allows(path):
    findings = linter().analyze_policy_string(path.read_text()).findings
    assert [each for each in findings if not is_known(each) and each.issue != "RESOURCE_STAR"] == []


def test_the_build_s_role_may_pass_only_packer_s_own_roles_and_only_to_ec2():
    build = json.loads((PACKER / "iam/build.json").read_text())
    for statement in build["Statement"]:
        if any(action.startswith("iam:") for action in statement["Action"]):
            assert all("/packer-" in resource for resource in statement["Resource"])
        if "iam:PassRole" in statement["Action"]:
            assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_user_data_is_a_script_that_adds_settings_which_are_right():
    need(shutil.which("shellcheck"), "shellcheck")
    script = EXAMPLES / "user-data.sh"
    assert subprocess.run(["shellcheck", script], check=False).returncode == 0
    [added] = re.findall(r"<<'TOML'\n(.*?)\nTOML\n", script.read_text(), re.DOTALL)
    assert settings_of(**tomllib.loads(added)).registries[0].account == "210987654321"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.tf")), ids=lambda path: path.name)
def test_terraform_reads_the_samples_and_finds_the_files_that_they_name(path):
    assert hcl2.loads(path.read_text())
    named = re.findall(r'file(?:base64)?\("\$\{path\.module\}/([^"]+)"\)', path.read_text())
    assert named
    for each in named:
        assert (EXAMPLES / each).exists()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yml")), ids=lambda path: path.name)
def test_the_ci_examples_build_both_architectures_by_targets_and_files_that_exist(path):
    text = path.read_text()
    assert yaml.safe_load(text)
    assert re.search(r"amd64, arm64", text)
    for target in re.findall(r"make ([a-z]+)", text):
        assert re.search(rf"^{target}:", (REPO / "Makefile").read_text(), re.MULTILINE)
    variables = hcl2.loads((PACKER / "variables.pkr.hcl").read_text())["variable"]
    names = {name.strip('"') for block in variables for name in block}
    assert set(re.findall(r"-var (\w+)=", text)) <= names


def test_the_guide_s_files_exist_and_its_variables_are_the_scripts():
    text = GUIDE.read_text()
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (GUIDE.parent / link).exists(), link
    script = (PACKER / "provision.sh").read_text()
    for name in ("RUNNER_USERS", "SETTINGS", "REGISTRIES", "RUNNER_UNITS", "PYTHON", "PACKAGE"):
        assert name in text
        assert f"${{{name}" in script


def test_what_lands_on_the_root_is_right_by_itself():
    settings = tomllib.loads((PACKER / "rootfs/etc/ecrlogind/config.toml").read_text())
    assert settings["registries"] == ["self"]
