"""`ecrlogind policy`, as a process."""

import json

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
CENTRAL = "210987654321.dkr.ecr.us-east-1.amazonaws.com"
ROLE = "arn:aws:iam::210987654321:role/ci-pull"


def policy(keeper, *arguments):
    return keeper.run("policy", "--config", str(keeper.config), *arguments)


def test_it_prints_one_json_object_of_the_four_kinds(keeper):
    keeper.write_settings([OWN, {"host": CENTRAL, "role_arn": ROLE}])

    for arguments in ((), ("--json",), ("--write-access",)):
        done = policy(keeper, *arguments)
        found = json.loads(done.stdout)
        assert done.returncode == 0
        assert list(found) == ["instance_role", "roles", "trust", "repository"]
        assert ("ecr:PutImage" in done.stdout) == ("--write-access" in arguments)
    assert "ACCOUNT-OF-THE-INSTANCE" in done.stderr


def test_where_a_keeper_ran_the_instance_is_known(keeper):
    keeper.write_settings(["self", {"host": CENTRAL, "role_arn": ROLE}])
    assert keeper.run("login").returncode == 0

    done = policy(keeper)

    assert "arn:aws:ecr:eu-west-1:111122223333:repository/*" in done.stdout
    assert "arn:aws:iam::111122223333:root" in done.stdout
    assert done.stderr == ""


def test_terraform_is_asked_for_by_name(keeper):
    keeper.write_settings([{"host": CENTRAL, "role_arn": ROLE}])

    done = policy(keeper, "--terraform")

    assert done.returncode == 0
    assert 'resource "aws_iam_role" "_210987654321_ci_pull"' in done.stdout


def test_bad_settings_exit_78_and_two_forms_at_once_2(keeper):
    keeper.config.write_text("registries = []\n")

    assert policy(keeper).returncode == 78
    assert policy(keeper, "--json", "--terraform").returncode == 2
