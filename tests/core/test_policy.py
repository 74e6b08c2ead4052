"""The policies: least, complete, and what AWS itself would take."""

import json
import re
import warnings

import hcl2
import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data

from ecrlogind.core.policy import UNKNOWN_ACCOUNT, policies
from ecrlogind.core.terraform import PRINCIPAL, terraform
from ecrlogind.core.wire import Instance
from tests.support.world import settings_of

HERE = Instance("111122223333", "eu-west-1", "i-0")
OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
CENTRAL = "210987654321.dkr.ecr.us-east-1.amazonaws.com"
ROLE = "arn:aws:iam::210987654321:role/ci-pull"
HOP = "arn:aws:iam::111122223333:role/hop"
PUSH = "arn:aws:iam::210987654321:role/ci/push"

# AWS's own, as it publishes it: moto has a copy of all managed policies.
[_PUBLISHED] = json.loads(aws_managed_policies_data)["AmazonEC2ContainerRegistryPullOnly"]["Document"]["Statement"]
PULL_ONLY = set(_PUBLISHED["Action"])
PUSH_ACTIONS = {
    "ecr:BatchCheckLayerAvailability",
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:PutImage",
}

CASES = {
    "self": ["self"],
    "own": [OWN],
    "central": [CENTRAL],
    "role": [
        {
            "host": CENTRAL,
            "role_arn": ROLE,
            "external_id": "runners",
            "images": ["base:latest", "a/b@sha256:" + 64 * "0"],
        }
    ],
    "chain": [{"host": CENTRAL, "role_arn": [HOP, PUSH], "external_id": "x1"}, "self"],
    "pull": [{"host": CENTRAL, "role_arn": ROLE, "scope": "pull"}],
    "central-everywhere": [{"account": "210987654321", "region": "self"}],
    "public": ["public.ecr.aws", "self"],
    "china": ["111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", "222222222222.dkr.ecr.cn-north-1.amazonaws.com.cn"],
    "gov": [
        {
            "host": "222222222222.dkr.ecr.us-gov-west-1.amazonaws.com",
            "role_arn": "arn:aws-us-gov:iam::222222222222:role/p",
        }
    ],
    "profile": [{"host": CENTRAL, "profile": "ci"}, {"host": OWN, "profile": "x", "role_arn": ROLE}],
    "alias": [{"host": "ecr.example.com", "account": "210987654321", "region": "eu-west-1"}],
    "many": ["self", CENTRAL, {"host": CENTRAL, "name": "push", "role_arn": PUSH}, "public.ecr.aws"],
}


def settings(registries):
    named = [each["name"] for each in registries if isinstance(each, dict) and "name" in each]
    more = [{"user": "deploy", "registries": named}] if named else []
    return settings_of(registries=registries, destinations=[{"user": "ci"}, *more])


def of(registries, instance=HERE, **more):
    return policies(settings(registries), instance, **more)


def listed(value):
    return [value] if isinstance(value, str) else value


def actions(policy):
    return {action for statement in policy["Statement"] for action in listed(statement["Action"])}


def allowed(policy, action):
    """Return the resources that *action* is allowed on."""
    return {
        resource
        for statement in policy["Statement"]
        if action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


def test_pulling_is_aws_s_own_pull_only_list_action_by_action():
    assert actions(of(["self"])["instance_role"]) == PULL_ONLY


def test_write_access_adds_what_a_push_needs_and_nothing_else():
    assert actions(of(["self"], write=True)["instance_role"]) == PULL_ONLY | PUSH_ACTIONS


def test_only_the_repositories_of_the_registry_can_be_pulled_from():
    role = of([OWN, CENTRAL])["instance_role"]

    wanted = {"arn:aws:ecr:eu-west-1:111122223333:repository/*", "arn:aws:ecr:us-east-1:210987654321:repository/*"}
    for action in PULL_ONLY - {"ecr:GetAuthorizationToken"}:
        assert allowed(role, action) == wanted
    assert allowed(role, "ecr:GetAuthorizationToken") == {"*"}


def test_images_scope_it_to_their_repositories_and_an_entry_without_images_lifts_that():
    one = {"host": CENTRAL, "images": ["base:latest", "team/app:v1"]}
    arn = "arn:aws:ecr:us-east-1:210987654321:repository/"

    assert allowed(of([one])["instance_role"], "ecr:BatchGetImage") == {f"{arn}base", f"{arn}team/app"}
    assert allowed(of([one, CENTRAL])["instance_role"], "ecr:BatchGetImage") == {f"{arn}*"}


def test_self_is_the_instance_s_own_where_that_is_known_and_any_where_not():
    assert allowed(of(["self"])["instance_role"], "ecr:BatchGetImage") == {
        "arn:aws:ecr:eu-west-1:111122223333:repository/*"
    }
    assert allowed(of(["self"], None)["instance_role"], "ecr:BatchGetImage") == {"arn:aws:ecr:*:*:repository/*"}


def test_a_role_logs_in_and_pulls_itself_and_the_instance_may_only_assume_it():
    found = of([{"host": CENTRAL, "role_arn": ROLE, "external_id": "runners"}])

    assert actions(found["instance_role"]) == {"sts:AssumeRole"}
    assert allowed(found["instance_role"], "sts:AssumeRole") == {ROLE}
    assert actions(found["roles"][ROLE]) == PULL_ONLY
    [trust] = found["trust"][ROLE]["Statement"]
    assert trust["Principal"] == {"AWS": "arn:aws:iam::111122223333:root"}
    assert trust["Condition"] == {"StringEquals": {"sts:ExternalId": "runners"}}
    assert found["repository"] == {}


def test_in_a_chain_each_role_trusts_the_one_before_and_the_last_alone_has_the_external_id():
    found = of([{"host": CENTRAL, "role_arn": [HOP, PUSH], "external_id": "runners"}])

    assert allowed(found["instance_role"], "sts:AssumeRole") == {HOP}
    assert actions(found["roles"][HOP]) == {"sts:AssumeRole"}
    assert allowed(found["roles"][HOP], "sts:AssumeRole") == {PUSH}
    assert actions(found["roles"][PUSH]) == PULL_ONLY
    [first], [last] = (found["trust"][role]["Statement"] for role in (HOP, PUSH))
    assert "Condition" not in first
    assert last["Principal"] == {"AWS": HOP}
    assert last["Condition"] == {"StringEquals": {"sts:ExternalId": "runners"}}


def test_a_registry_of_another_account_needs_a_repository_policy_that_names_who_pulls():
    found = of([OWN, CENTRAL, {"host": CENTRAL, "name": "hop", "role_arn": HOP}])

    assert set(found["repository"]) == {"arn:aws:ecr:us-east-1:210987654321:repository/*"}
    [statement] = found["repository"]["arn:aws:ecr:us-east-1:210987654321:repository/*"]["Statement"]
    assert statement["Principal"] == {"AWS": ["arn:aws:iam::111122223333:root", HOP]}
    assert set(statement["Action"]) == {"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}


def test_a_role_of_the_registry_s_own_account_needs_none():
    assert of([{"host": CENTRAL, "role_arn": ROLE}])["repository"] == {}


def test_ecr_public_needs_its_two_actions_and_no_others():
    assert actions(of(["public.ecr.aws"])["instance_role"]) == {
        "ecr-public:GetAuthorizationToken",
        "sts:GetServiceBearerToken",
    }


def test_a_role_with_the_scope_pull_cannot_push_whatever_was_asked_for():
    found = of([{"host": CENTRAL, "role_arn": ROLE, "scope": "pull"}], write=True)

    assert actions(found["roles"][ROLE]) == PULL_ONLY


@pytest.mark.parametrize(("case", "partition"), [("self", "aws"), ("china", "aws-cn"), ("gov", "aws-us-gov")])
def test_every_arn_is_of_the_partition_of_its_region(case, partition):
    instance = {"aws": HERE, "aws-cn": Instance("111122223333", "cn-north-1", "i-0")}.get(partition)

    arns = re.findall(r"arn:([^:]+):", json.dumps(of(CASES[case], instance)))

    assert set(arns) == {partition}


def test_a_host_identity_that_needs_nothing_gets_no_policy():
    found = of([{"host": CENTRAL, "profile": "ci"}])

    assert found["instance_role"] is None
    assert actions(found["roles"]["profile:ci"]) == PULL_ONLY


def test_an_account_that_nobody_knows_is_left_open_in_a_way_that_iam_refuses():
    found = of([{"host": CENTRAL, "role_arn": ROLE}], None)

    assert UNKNOWN_ACCOUNT in json.dumps(found["trust"])
    assert cloudformation({"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": found["trust"][ROLE]}})
    assert UNKNOWN_ACCOUNT not in json.dumps(of([{"host": CENTRAL, "role_arn": ROLE}]))


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_linter_with_aws_s_list_of_actions_finds_nothing_in_what_identities_get(case, write):
    parliament = linter()
    found = of(CASES[case], write=write)
    for policy in [found["instance_role"], *found["roles"].values()]:
        if policy is not None:
            analysed = parliament.analyze_policy_string(json.dumps(policy))
            assert [each for each in analysed.findings if not is_known(each)] == []


def linter():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its own files open
        import gc

        import parliament

        gc.collect()
    return parliament


def is_known(finding):
    """Whether it is that one action, whose resource the linter's list does not have; AWS's user guide does.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache-iam.html
    """
    return finding.issue == "RESOURCE_MISMATCH" and {each["action"] for each in finding.detail} == {
        "ecr:BatchImportUpstreamImage"
    }


def test_the_linter_would_find_an_action_that_does_not_exist():
    policy = {**of(["self"])["instance_role"]}
    policy["Statement"] = [{**policy["Statement"][0], "Action": ["ecr:GetAuthorisationToken"]}]

    assert [each.issue for each in linter().analyze_policy_string(json.dumps(policy)).findings] == ["UNKNOWN_ACTION"]


def test_cloudformation_would_take_every_policy_trust_and_repository_policies_too():
    resources = {}
    for case, registries in CASES.items():
        found = of(registries, write=True)
        for number, (who, policy) in enumerate([("", found["instance_role"]), *found["roles"].items()]):
            name = f"{case}{number}".replace("-", "")
            if policy is not None:
                given = {"PolicyName": name, "PolicyDocument": policy, "Roles": ["r"]}
                resources[f"policy{name}"] = {"Type": "AWS::IAM::Policy", "Properties": given}
            if who in found["trust"]:
                given = {"AssumeRolePolicyDocument": found["trust"][who]}
                resources[f"role{name}"] = {"Type": "AWS::IAM::Role", "Properties": given}
        for number, policy in enumerate(found["repository"].values()):
            given = {"RepositoryPolicyText": policy}
            resources[f"repository{case}{number}".replace("-", "")] = {
                "Type": "AWS::ECR::Repository",
                "Properties": given,
            }

    assert cloudformation(*resources.values()) == []
    assert len(resources) > len(CASES)


def cloudformation(*resources):
    """Return what CloudFormation's linter has against them."""
    from cfnlint.api import lint
    from cfnlint.config import ManualArgs

    template = {"Resources": {f"r{number}": each for number, each in enumerate(resources)}}
    return lint(json.dumps(template), config=ManualArgs(ignore_checks=["W"]))


@pytest.mark.parametrize("case", CASES)
def test_the_terraform_parses_and_says_the_same_as_the_json(case):
    found = policies(settings(CASES[case]), HERE, principal=PRINCIPAL)

    parsed = hcl2.loads(terraform(found))

    blocks = [
        (kind.strip('"'), name.strip('"'))
        for each in parsed["resource"]
        for kind, named in each.items()
        for name in named
    ]
    assert len(blocks) == len(set(blocks))
    kinds = [kind for kind, _ in blocks]
    assert kinds.count("aws_iam_role") == len(found["trust"])
    assert kinds.count("aws_ecr_repository_policy") == len(found["repository"])
    texts = re.findall(r"jsonencode\((\{.*?^  \})\)", terraform(found), re.MULTILINE | re.DOTALL)
    said = [json.dumps(json.loads(text), sort_keys=True) for text in texts]
    wanted = [found["instance_role"], *found["roles"].values(), *found["trust"].values(), *found["repository"].values()]
    assert sorted(said) == sorted(json.dumps(each, sort_keys=True) for each in wanted if each is not None)
