"""What the settings come to: which logins, which calls, and what cannot be."""

from ecrlogind.core.desired import desire
from ecrlogind.core.wire import Instance
from tests.support.world import A, settings_of

ROLE = "arn:aws:iam::111111111111:role/other"
DUAL_STACK = "111111111111.dkr-ecr.eu-west-1.on.aws"
INSTANCE = Instance("111111111111", "eu-west-1", "i-1")


def desired(*registries):
    return desire(settings_of(registries=list(registries), destinations=[{"user": "root"}]), INSTANCE)


def test_a_host_that_two_entries_of_one_identity_come_to_is_one_login_however_they_are_written():
    found = desired({"host": A, "also": ["dual-stack"]}, DUAL_STACK, "self", {"host": A, "images": ["base:latest"]})

    assert [login.host for login in found.logins] == [A, DUAL_STACK]
    assert found.conflicts == ()


def test_an_entry_that_turns_out_to_be_the_host_of_another_identity_is_a_conflict():
    found = desired("self", {"host": A, "role_arn": ROLE})

    assert [login.entry.name for login in found.logins] == ["self"]
    assert [login.entry.identity.label for login in found.conflicts] == [ROLE]


def test_a_user_s_alias_beside_the_registry_s_own_name_is_two_logins_of_one_call():
    found = desired(A, {"host": "ecr.example.com", "account": "111111111111", "region": "eu-west-1"})

    assert [login.host for login in found.logins] == [A, "ecr.example.com"]
    assert len(found.calls) == 1
