"""One settings file for many accounts, roles, regions, partitions and forms: which calls one pass makes of it."""

import pytest

from standin import Role
from tests.support.hosts import api_names, on_real_names
from tests.support.identities import ASSUME, CI, PULL, RUNNER, SESSION, TOKEN, session_of

pytestmark = pytest.mark.system

HUB = "arn:aws:iam::111122223333:role/hub"
CHINESE = "arn:aws-cn:iam::888899990000:user/ci"
OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
BY_ROLE = "222233334444.dkr.ecr.us-east-1.amazonaws.com"
ITS_OTHERS = (
    "222233334444.dkr.ecr-fips.us-east-1.amazonaws.com",
    "222233334444.dkr-ecr.us-east-1.on.aws",
    "222233334444.dkr-ecr-fips.us-east-1.on.aws",
)
BY_CHAIN = "555566667777.dkr.ecr.eu-west-1.amazonaws.com"
FIPS = "012345678901.dkr.ecr-fips.us-east-1.amazonaws.com"
DUAL_STACK = "012345678901.dkr-ecr.eu-west-1.on.aws"
CHINA = "888899990000.dkr.ecr.cn-north-1.amazonaws.com.cn"
PUBLIC = ("public.ecr.aws", "ecr-public.aws.com")
HOSTS = (OWN, BY_ROLE, *ITS_OTHERS, BY_CHAIN, FIPS, DUAL_STACK, CHINA, *PUBLIC)

AS_CI, AS_HUB, AS_PULL = (session_of(role, SESSION) for role in (CI, HUB, PULL))


@pytest.fixture
def world(aws):
    """Let AWS stand on its own names, and trust nobody but who should be."""
    aws.world.identities.unknown_roles = False
    aws.world.identities.roles |= {
        CI: Role(trusts=(RUNNER,), external_id="runners"),
        HUB: Role(trusts=(RUNNER,)),
        PULL: Role(trusts=(AS_HUB,)),
    }
    with on_real_names(aws, *api_names("eu-west-1", "us-east-1", "cn-north-1"), *HOSTS):
        yield aws


@pytest.fixture
def host(keeper, world, private_path):
    """Return a host with settings for all of them, and a Chinese user's keys."""
    user = world.world.identities.user("888899990000", "ci", partition="aws-cn")
    keys = private_path / "keys"
    keys.write_text(f"[china]\naws_access_key_id = {user.access_key}\naws_secret_access_key = {user.secret_key}\n")
    keeper.write_settings(
        [
            "self",
            {"host": BY_ROLE, "role_arn": CI, "external_id": "runners", "also": ["fips", "dual-stack"]},
            {"host": BY_CHAIN, "role_arn": [HUB, PULL]},
            FIPS,
            DUAL_STACK,
            {"host": CHINA, "profile": "china"},
            {"host": PUBLIC[0], "also": ["dual-stack"]},
        ],
        aws={
            "endpoints": {"imds": world.endpoints["imds"]},
            "ca_bundle": str(world.ca_file),
            "credentials_file": str(keys),
        },
        check={"registry": True},
    )
    return keeper


def test_one_pass_makes_exactly_the_calls_that_are_needed(host, world):
    done = host.run("login")

    assert done.returncode == 0, done.stdout + done.stderr
    signed = [call for call in world.calls() if call.service in ("ecr", "ecr-public", "sts")]
    made = [(call.host, call.action, call.identity, call.region, call.target) for call in signed]
    assert sorted(made, key=str) == sorted(
        [
            ("api.ecr.eu-west-1.amazonaws.com", TOKEN, RUNNER, "eu-west-1", None),
            ("sts.us-east-1.amazonaws.com", ASSUME, RUNNER, "us-east-1", CI),
            ("api.ecr.us-east-1.amazonaws.com", TOKEN, AS_CI, "us-east-1", None),
            ("api.ecr-fips.us-east-1.amazonaws.com", TOKEN, AS_CI, "us-east-1", None),
            ("sts.eu-west-1.amazonaws.com", ASSUME, RUNNER, "eu-west-1", HUB),
            ("sts.eu-west-1.amazonaws.com", ASSUME, AS_HUB, "eu-west-1", PULL),
            ("api.ecr.eu-west-1.amazonaws.com", TOKEN, AS_PULL, "eu-west-1", None),
            ("api.ecr-fips.us-east-1.amazonaws.com", TOKEN, RUNNER, "us-east-1", None),
            ("ecr.eu-west-1.api.aws", TOKEN, RUNNER, "eu-west-1", None),
            ("api.ecr.cn-north-1.amazonaws.com.cn", TOKEN, CHINESE, "cn-north-1", None),
            ("api.ecr-public.us-east-1.amazonaws.com", TOKEN, RUNNER, "us-east-1", None),
        ],
        key=str,
    )
    assert {call.external_id for call in signed if call.target == CI} == {"runners"}
    assert {call.action for call in world.calls(service="imds")} == {"token", "document", "role", "credentials"}
    assert {call.service for call in world.calls() if not call.secure} == {"imds"}

    assert set(host.auths()) == set(HOSTS)
    asked = {(call.host, call.identity) for call in world.calls(service="registry") if call.identity}
    assert asked == {
        (OWN, RUNNER),
        *((host, AS_CI) for host in (BY_ROLE, *ITS_OTHERS)),
        (BY_CHAIN, AS_PULL),
        (FIPS, RUNNER),
        (DUAL_STACK, RUNNER),
        (CHINA, CHINESE),
        *((host, RUNNER) for host in PUBLIC),
    }


def test_check_prints_the_identity_of_each(host):
    printed = host.run("check", "--print")

    assert printed.returncode == 0, printed.stderr
    lines = [line for line in printed.stdout.partition("destinations")[0].splitlines() if "# as " in line]
    assert [line.partition("  # as ")[2] for line in lines] == [
        "host",
        CI,
        PULL,
        "host",
        "host",
        "profile:china",
        "host",
    ]
    assert [next(host for host in ("self", *HOSTS) if f'"{host}"' in line) for line in lines] == [
        "self",
        BY_ROLE,
        BY_CHAIN,
        FIPS,
        DUAL_STACK,
        CHINA,
        PUBLIC[0],
    ]
