"""AWS is away, for the real daemon: what is held serves to its end, status tells when that is, and then it heals.

The minutes are in tests/model/test_outages.py; here hours go by for daemon, children and AWS alike.
"""

import glob
from datetime import datetime, timedelta

import pytest

from standin import Fault
from tests.support.keeper import until
from tests.support.need import need
from tests.support.sleeper import FAKETIME, Sleeper

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"


def row(document):
    [found] = document["registries"]
    return found


def moment(text):
    return datetime.fromisoformat(text)


def left(document, when):
    """Return how long it is until *when*, a time of the document's registry."""
    return moment(row(document)[when]) - moment(document["updated_at"])


@pytest.mark.timeout(600)
def test_what_is_held_serves_through_an_outage_of_almost_six_hours_at_the_worst_moment(keeper, aws):
    need(glob.glob(FAKETIME), "libfaketime")
    host = Sleeper(keeper, whole=True)
    # No jitter: six hours are the longest that a renewal can wait, and then six hours are left.
    keeper.write_settings([OWN], renew={"jitter": 0.0})
    with keeper.running():
        keeper.wait_for(states={OWN: "in_place"})
        first = keeper.password(OWN)
        document = host.let_go_by(hours=5, minutes=59)
        assert row(document)["state"] == "issued"
        with aws.fault(Fault(service="ecr", error="ServerException", status=503)):
            until(lambda: aws.accepts(OWN, first), "the first login")
            for _ in range(12):
                host.let_go_by(minutes=30 - (host.gone_by >= timedelta(hours=11, minutes=29)))
                assert keeper.password(OWN) == first
                assert aws.accepts(OWN, first)
                until(lambda: row(keeper.document)["failures"], "the refusal")
                assert keeper.states() == {OWN: "in_place"}
                assert keeper.document["verdict"] == "degraded"
        assert host.gone_by < timedelta(hours=12)
        # Thirty seconds are the longest wait in the last half hour of a life.
        host.let_go_by(seconds=30)
        until(lambda: keeper.password(OWN) != first, "the next login")
        assert aws.accepts(OWN, first)
        until(lambda: keeper.document["verdict"] == "healthy", "health")
        assert aws.accepts(OWN, keeper.password(OWN))


@pytest.mark.timeout(600)
def test_after_thirteen_hours_status_said_expired_at_the_right_minute_and_the_first_try_mends_it(keeper, aws):
    need(glob.glob(FAKETIME), "libfaketime")
    host = Sleeper(keeper, whole=True)
    keeper.write_settings([OWN])
    with keeper.running():
        keeper.wait_for(states={OWN: "in_place"})
        first = keeper.password(OWN)
        with aws.fault(Fault(service="ecr", error="ServerException", status=503)):
            document = host.let_go_by(hours=11)
            minutes = left(document, "expires_at") // timedelta(minutes=1)
            assert 58 <= minutes <= 60
            host.let_go_by(minutes=minutes - 1)
            assert keeper.states() == {OWN: "in_place"}
            assert aws.accepts(OWN, first)

            document = host.let_go_by(minutes=2)

            until(lambda: keeper.states() == {OWN: "expired"}, "the word of the end")
            assert not aws.accepts(OWN, first)
            assert keeper.document["verdict"] == "failing"
            assert keeper.password(OWN) == first
            host.let_go_by(minutes=58)
            until(lambda: row(keeper.document)["failures"] and left(keeper.document, "renew_at"), "the next refusal")
            assert left(keeper.document, "renew_at") <= timedelta(minutes=5)

        host.let_go_by(minutes=5)

        keeper.wait_for(states={OWN: "in_place"})
        assert aws.accepts(OWN, keeper.password(OWN))
