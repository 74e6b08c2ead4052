"""The commands that serve clients: a job's own DOCKER_CONFIG, and kubelet's configuration."""

import json
import sys
from pathlib import Path

import yaml

from tests.support.need import need

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "222222222222.dkr.ecr.us-east-1.amazonaws.com"


def test_export_writes_the_caller_s_logins_where_a_job_wants_them(keeper, aws, tmp_path):
    need((Path(sys.prefix) / "bin" / "ecrlogind-export").exists(), "the scripts of the wheel: make .venv again")
    keeper.write_settings(["self", OTHER])
    assert keeper.run("login").returncode == 0

    done = keeper.run("export", str(tmp_path / "job"))

    assert done.returncode == 0, done.stderr
    exported = json.loads((tmp_path / "job" / "config.json").read_text())["auths"]
    assert exported == keeper.auths()
    assert set(exported) == {OWN, OTHER}


def test_export_with_nothing_to_give_says_so(keeper, tmp_path):
    need((Path(sys.prefix) / "bin" / "ecrlogind-export").exists(), "the scripts of the wheel: make .venv again")

    done = keeper.run("export", str(tmp_path / "job"))

    assert done.returncode == 1
    assert done.stderr


def test_kubelet_s_configuration_names_what_self_became(keeper):
    keeper.write_settings(["self", OTHER])
    keeper.run("login")

    done = keeper.run("credential-provider-config", "--config", str(keeper.config))

    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["providers"][0]["matchImages"] == [OWN, OTHER]
