"""Credentials that a registry stops taking before their time: replaced within one check interval, told meanwhile."""

from itertools import pairwise

from standin import Fault
from tests.support.keeper import until

EU = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
US = "222233334444.dkr.ecr.us-east-1.amazonaws.com"
FLOOR = 0.2


def checked(keeper, *registries):
    keeper.write_settings(registries, check={"every": "1s"}, renew={"floor": f"{FLOOR:g}s"})


def rows(keeper):
    return {row["name"]: row for row in (keeper.document or {"registries": []})["registries"]}


def test_a_revoked_credential_is_replaced_and_the_other_kept(keeper, aws):
    checked(keeper, EU, US)
    with keeper.running():
        keeper.wait_for(states={EU: "in_place", US: "in_place"})
        old, other = keeper.password(EU), keeper.password(US)

        aws.revoke(region="eu-west-1")

        until(lambda: keeper.password(EU) not in (None, old), "another credential")
        assert aws.accepts(EU, keeper.password(EU))
        keeper.wait_for(states={EU: "in_place", US: "in_place"})
        # One check found it out, and one issue mended it.
        refused = [call for call in aws.calls(service="registry", host=EU) if call.status == 401]
        assert len(refused) == 1
        assert len(aws.calls(service="ecr", region="eu-west-1")) == 2
        assert (keeper.password(US), len(aws.calls(service="ecr", region="us-east-1"))) == (other, 1)
        assert "code=invalid_keys" in keeper.log


def test_status_tells_the_truth_while_aws_gives_no_other(keeper, aws):
    checked(keeper, EU, US)
    with keeper.running():
        keeper.wait_for(states={EU: "in_place", US: "in_place"})
        old = keeper.auths()
        outage = aws.fault(Fault(service="ecr", region="eu-west-1", error="ServerException", status=500))

        aws.revoke(region="eu-west-1")

        keeper.wait_for(states={EU: "failed", US: "in_place"})
        assert keeper.document["verdict"] == "failing"
        until(lambda: rows(keeper)[EU]["state"] == "failing", "the registry's state")
        [login] = [each for each in keeper.document["logins"] if each["host"] == EU]
        assert login["error"]["code"] in ("invalid_keys", "service_error")
        assert keeper.auths() == old, "nothing better is there, and its end is told by status"

        outage.lift()
        keeper.wait_for(states={EU: "in_place", US: "in_place"})
        assert aws.accepts(EU, keeper.password(EU))


def test_a_registry_that_takes_nothing_does_not_make_us_hammer_aws(keeper, aws):
    checked(keeper, EU)
    with keeper.running(), aws.fault(Fault(service="registry", body="Not Authorized", status=401)):
        issued = aws.wait_for_calls(5, service="ecr", timeout=30)

        gaps = [later.at - earlier.at for earlier, later in pairwise(issued)]
        # Each wait is twice the last: never less than the floor between two, and more each time.
        assert all(gap >= FLOOR * 2**number * 0.9 for number, gap in enumerate(gaps))
        until(lambda: keeper.states() == {EU: "failed"}, "the truth")
    assert rows(keeper)[EU]["error"]["code"] == "invalid_keys"


def test_a_registry_that_is_not_reached_is_a_warning_and_no_failure(keeper, aws):
    checked(keeper, EU)
    with keeper.running(), aws.fault(Fault(service="registry", behaviour="reset")):
        keeper.wait_for(states={EU: "in_place"})
        aws.wait_for_calls(1, service="registry")
        until(lambda: "check.missed" in keeper.log or "code=no_network" in keeper.log, "the warning")
        assert keeper.document["verdict"] == "healthy"
        assert len(aws.calls(service="ecr")) == 1
