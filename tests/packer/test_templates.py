"""The templates, by packer itself where 1.6.6 can read them, and by an HCL2 parser where it cannot."""

import re
import shutil
import subprocess

import hcl2
import pytest

from tests.support import baking
from tests.support.baking import PACKER
from tests.support.need import need

# What the amazon plugin (1.3) documents for amazon-ebs, of which 1.6.6 does not know the newer half.
AMAZON_EBS = [
    "region",
    "ami_name",
    "ami_regions",
    "subnet_id",
    "ssh_username",
    "ssh_interface",
    "source_ami_filter",
    "spot_price",
    "spot_instance_types",
    "spot_tags",
    "temporary_iam_instance_profile_policy_document",
    "metadata_options",
    "imds_support",
    "encrypt_boot",
    "kms_key_id",
    "launch_block_device_mappings",
    "ssh_clear_authorized_keys",
    "tags",
    "snapshot_tags",
    "run_tags",
]
METADATA_OPTIONS = ["http_endpoint", "http_tokens", "http_put_response_hop_limit", "instance_metadata_tags"]
# What it documents for the blocks in it, as far as this template has any use for it.
NESTED = {
    "metadata_options": METADATA_OPTIONS,
    "source_ami_filter": ["filters", "owners", "most_recent", "include_deprecated"],
    "launch_block_device_mappings": [
        *("device_name", "volume_type", "volume_size", "throughput", "iops", "encrypted", "delete_on_termination"),
        *("kms_key_id", "no_device", "snapshot_id", "virtual_name"),
    ],
    "temporary_iam_instance_profile_policy_document": ["Version", "Statement"],
    "Statement": ["Effect", "Action", "Resource"],
}
DOCKER = ["image", "pull", "commit", "changes", "run_command"]
# The same of Packer's own parts.
STEPS = {
    "shell": ["inline", "script", "scripts", "environment_vars", "env", "execute_command", "valid_exit_codes"],
    "file": ["source", "sources", "content", "destination", "direction", "generated"],
    "manifest": ["output", "strip_path", "strip_time", "custom_data"],
}


def blocks(name, kind, *labels):
    """Return the bodies of the blocks of *kind* with *labels* in a template."""
    need(shutil.which("packer"), "packer")
    found = hcl2.loads((PACKER / name).read_text()).get(kind, [])
    for label in labels:
        found = [block[key] for block in found for key in block if key.strip('"') == label]
    return found


@pytest.mark.parametrize("script", sorted(PACKER.glob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_finds_nothing_in_the_scripts(script):
    need(shutil.which("shellcheck"), "shellcheck")
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_templates_are_formatted_as_packer_formats_them():
    need(shutil.which("packer"), "packer")
    done = subprocess.run(["packer", "fmt", "-check", "-diff", PACKER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("base", ["al2023", "ubuntu-24.04"])
@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_packer_takes_the_templates_for_every_base_and_architecture(kitchen, tmp_path, base, arch):
    kitchen.packer("validate", "-var", f"base={base}", "-var", f"arch={arch}", "-var", f"wheelhouse={tmp_path}")


@pytest.mark.parametrize("wrong", ["base=debian", "arch=riscv"])
def test_a_base_or_architecture_that_is_not_known_is_refused_by_name(kitchen, tmp_path, wrong):
    done = kitchen.packer("validate", "-var", wrong, "-var", f"wheelhouse={tmp_path}", check=False)
    assert done.returncode
    assert f"The {wrong.partition('=')[0]} must be " in done.stdout


def test_what_1_6_6_cannot_read_is_in_the_template_all_the_same():
    [runner] = blocks("runner-ami.pkr.hcl", "source", "amazon-ebs", "runner")
    [options] = runner["metadata_options"]
    assert options["http_tokens"].strip('"') == "required"
    assert runner["imds_support"].strip('"') == "v2.0"
    assert set(options) - {"__is_block__"} <= set(METADATA_OPTIONS)


@pytest.mark.parametrize(
    ("name", "builder", "documented"),
    [("runner-ami.pkr.hcl", "amazon-ebs", AMAZON_EBS), ("docker.pkr.hcl", "docker", DOCKER)],
    ids=["amazon-ebs", "docker"],
)
def test_a_source_says_only_what_its_plugin_documents(name, builder, documented):
    [runner] = blocks(name, "source", builder, "runner")
    assert set(runner) - {"__is_block__", "__comments__"} <= set(documented)


def inner(body):
    """Return all blocks in a block, at any depth, each with its name."""
    for name, value in body.items():
        for each in value if isinstance(value, list) else ():
            if isinstance(each, dict) and "__is_block__" in each:
                yield name, each
                yield from inner(each)


def test_so_do_the_blocks_in_it():
    [runner] = blocks("runner-ami.pkr.hcl", "source", "amazon-ebs", "runner")
    found = list(inner(runner))
    assert {name for name, _ in found} == set(NESTED)
    for name, body in found:
        assert set(body) - {"__is_block__", "__comments__"} <= set(NESTED[name]), name


@pytest.mark.parametrize("kind", ["provisioner", "post-processor"])
def test_so_do_the_steps_of_the_build(kind):
    [build] = blocks("runner-ami.pkr.hcl", "build")
    steps = [(name.strip('"'), body) for step in build[kind] for name, body in step.items() if isinstance(body, dict)]
    assert steps
    for name, body in steps:
        assert set(body) - {"__is_block__", "__comments__"} <= set(STEPS[name]), name


def test_the_plugins_that_current_packer_wants_are_named_and_stand_apart():
    [packer] = blocks("plugins.pkr.hcl", "packer")
    [plugins] = packer["required_plugins"]
    assert set(plugins) - {"__is_block__"} == {"amazon", "docker"}
    for other in PACKER.glob("*.pkr.hcl"):
        if other.name != "plugins.pkr.hcl":
            assert "required_plugins" not in other.read_text()


def test_both_builders_go_through_the_same_provisioners():
    builds = [build for path in PACKER.glob("*.pkr.hcl") for build in blocks(path.name, "build")]
    [build] = builds
    assert [source.strip('"') for source in build["sources"]] == [
        "source.amazon-ebs.runner",
        "source.docker.runner",
    ]
    assert not re.search(r"\b(only|except) +=", (PACKER / "runner-ami.pkr.hcl").read_text())


def test_every_variable_is_used_and_says_what_it_is():
    text = "".join(path.read_text() for path in PACKER.glob("*.pkr.hcl"))
    for block in blocks("variables.pkr.hcl", "variable"):
        for name, body in block.items():
            assert f"var.{name.strip(chr(34))}" in text
            assert body["description"]


def test_the_derived_copy_lacks_nothing_else(kitchen):
    whole = (PACKER / "runner-ami.pkr.hcl").read_text().splitlines()
    derived = (kitchen.directory / "runner-ami.pkr.hcl").read_text().splitlines()
    left_out = [line.strip() for line in whole if line not in derived]
    assert [line.split()[0] for line in left_out] == [
        "metadata_options",
        *(key for key in METADATA_OPTIONS if key != "instance_metadata_tags"),
        "imds_support",
    ]
    assert baking.for_1_6_6("\n".join(whole)) == "\n".join(derived)
