"""B: STS and ECR."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from standin import Fault, Role
from tests.support.rows import row
from tests.support.story import IN_EU, SOUND, VICTIM, region_of

ROLE = "arn:aws:iam::111122223333:role/pull"
DENIED = Fault(**IN_EU, error="AccessDeniedException", status=400)
DOWN = Fault(**IN_EU, error="ServerException", status=500)


def peak(pid):
    """Return the most memory that a process ever had, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@row(
    "B1",
    provoked="AWS denies one registry of several",
    holds="the others are in place, the start goes on; the one is tried again for ever, told once, "
    "with the action that is missing",
)
def test_b1_one_is_denied(story):
    with story.aws.deny("ecr:GetAuthorizationToken", identity="*:assumed-role/runner/*"):
        story.start().refuses("access_denied", "ecr:GetAuthorizationToken", "policy")
        story.until(lambda: story.keeper.document["ready"], "readiness: no waiting cures this")
        story.until(lambda: story.registry()["failures"] >= 2, "the second try")
        assert story.log.count("code=access_denied") == 1
        status = story.run("status")
        assert status.returncode == 1
        assert "access_denied" in status.stdout
    story.refused.clear()
    story.settle(within=60)


@row(
    "B2",
    provoked="a role's trust policy does not let us in, and is mended later",
    holds="the login follows by itself within 30 s, and at once when somebody runs `ecrlogind login`",
)
@pytest.mark.parametrize("by_hand", [False, True])
def test_b2_a_trust_policy_that_is_mended(story, by_hand):
    story.victim["role_arn"] = ROLE
    story.victim["external_id"] = "runners"
    roles = story.aws.world.identities.roles
    roles[ROLE] = Role(external_id="another")
    story.start().refuses("assume_role_denied", ROLE, "trust policy", "external id")

    roles[ROLE] = Role(external_id="runners")

    story.refused.clear()
    if by_hand:
        story.hurries += 1
        assert story.run("login").returncode == 0
    story.settle(within=45)


@row(
    "B3",
    provoked="ECR throttles, while forty registries of one identity and region are wanted",
    holds="one call serves them all; the next comes after 5 s, or after what Retry-After asks for",
)
def test_b3_throttled(story):
    more = [f"{number:012d}.dkr.ecr.eu-west-1.amazonaws.com" for number in range(40)]
    story.registries += [{"host": host} for host in more]
    story.affects(VICTIM, *more)
    throttled = story.aws.fault(Fault(**IN_EU, error="ThrottlingException", status=429, retry_after=6, times=1))
    story.start()
    for host in (VICTIM, *more):
        story.refuses("throttled", "later each time", host=host)
    throttled.lift()
    story.refused.clear()
    story.settle()

    first, second = (call.at for call in story.calls())
    assert second - first >= 6


@row(
    "B4",
    provoked="ECR answers 500 when the renewal is due, for less than the life that is left "
    "(5 h 59 min of 12 h, here in seconds)",
    holds="the old login stays and is taken; degraded, with the reason; nobody notices; it is renewed afterwards",
)
def test_b4_an_outage_that_is_outlived(story):
    story.aws.world.lifetime = 12
    story.start().settle()
    before = story.password()
    with story.aws.fault(DOWN):
        story.refuses("service_error", "500")
        assert set(story.states().values()) == {"in_place"}
        assert story.keeper.document["verdict"] == "degraded"
        assert story.aws.accepts(VICTIM, before)
        assert story.password() == before
        story.hold()
    story.aws.world.lifetime = 3600
    story.refused.clear()
    story.until(lambda: story.password() != before, "the renewal")


@row(
    "B5",
    provoked="ECR answers 500 until after the login's end (13 h of 12 h, here in seconds)",
    holds="the entry is left, status says expired at the right second and exits 1; the first try afterwards mends it",
)
def test_b5_an_outage_that_is_not(story):
    story.aws.world.lifetime = 6
    story.start().settle()
    before, [password] = story.password(), story.aws.passwords("eu-west-1")
    story.aws.world.lifetime = 3600
    with story.aws.fault(DOWN):
        story.until(lambda: story.states()[VICTIM, story.label("one")] == "expired", "the end")
        told_at = datetime.fromisoformat(story.keeper.document["updated_at"]).timestamp()
        assert -1 <= told_at - password.expires_at <= 5
        assert story.password() == before
        assert story.run("status").returncode == 1
        story.refused.add(VICTIM)
        story.hold()
    story.mended()


@row(
    "B6",
    provoked="a socket that hangs after the connect, in the TLS handshake, before the answer, or drips a byte a second",
    holds="the call is given up at its deadline, the issuer has ended, and it is tried again",
)
@pytest.mark.parametrize("where", ["connect", "handshake", "answer", "body"])
def test_b6_a_socket_that_hangs(story, where):
    url = story.aws.listen("127.0.0.3", 0, tls=where == "handshake")
    story.of_aws["ca_bundle"] = str(story.aws.ca_file)
    story.ask_with_keys(url)
    connection = {"service": "connection", "host": "127.0.0.3", "behaviour": "hang"}
    fault = {"answer": IN_EU | {"behaviour": "hang"}, "body": IN_EU | {"behaviour": "drip"}}.get(where, connection)
    hang = story.aws.fault(Fault(**fault))
    story.of_aws["deadline"] = "3s"
    story.start().refuses("deadline", "in time")
    hang.lift()
    story.mended()


@row(
    "B7",
    provoked="a connection that is reset, closed before the answer, or closed in the middle of the body",
    holds="each is named and tried again; no half answer is taken",
)
def test_b7_a_connection_that_breaks(story):
    hosts = story.strike_each([{"behaviour": each} for each in ("reset", "close", "truncate")])
    story.start()
    for host, code in zip(hosts, ("service_error", "service_error", "malformed_answer"), strict=True):
        story.refuses(code, host=host)
    story.aws.lift_faults()
    story.mended()


@row(
    "B8",
    provoked="an answer of 50 MB, and one that becomes as large when it is unpacked",
    holds="refused in the issuer, whose memory has a limit; the keeper's does not grow",
)
def test_b8_an_answer_without_an_end(story):
    hosts = story.strike_each([{"behaviour": each, "size": 50_000_000} for each in ("huge", "gzip_bomb")])
    story.start()
    story.until(lambda: story.states().get((SOUND, story.label("two"))) == "in_place", "the other login")
    before = peak(story.pid)
    for host in hosts:
        story.refuses("malformed_answer", host=host)
    assert peak(story.pid) - before < 4096
    story.aws.lift_faults()
    story.mended()


def answer(**changes):
    return {"put": {f"authorizationData.0.{name}": value for name, value in changes.items()}}


NO_TOKENS = (
    answer(authorizationToken="no base64!"),
    answer(authorizationToken="cGFzc3dvcmQ="),  # password
    answer(authorizationToken="QVdTOg=="),  # AWS:
    answer(authorizationToken="cm9vdDpwYXNzd29yZA=="),  # root:password
    answer(authorizationToken="QVdTOnBhc3MAd29yZA=="),  # a NUL
    answer(authorizationToken="QVdTOnBhc3MNCndvcmQ="),  # a line of its own
    answer(authorizationToken="QVdTOnDDpHNzd29yZA=="),  # no ASCII
    answer(authorizationToken="QVdT" * 250_000),
    {"drop": ("authorizationData.0.authorizationToken",)},
    {"put": {"authorizationData": []}},
    {"rewrite": lambda answer: answer | {"authorizationData": answer["authorizationData"] * 2}},
)


@row(
    "B9",
    provoked="what is no token: no base64, no colon, no password, another user, control characters, 1 MB; none, or two",
    holds="each is refused as malformed, and nothing of it is written; what was held stays",
)
def test_b9_a_token_that_is_none(story):
    hosts = story.strike_each(NO_TOKENS)
    story.start()
    for host in hosts:
        story.refuses("malformed_answer", host=host)
        assert host not in story.keeper.auths()
    story.aws.lift_faults()
    story.mended()


NO_ENDS = (
    ({"drop": ("authorizationData.0.expiresAt",)}, "malformed_answer"),
    *((answer(expiresAt=each), "malformed_answer") for each in ("NaN", "soon", float("inf"), 253402300799, None)),
    *((answer(expiresAt=each), "expired_on_arrival") for each in (0, 1420070400)),
)


@row(
    "B10",
    provoked="an end of the credential that is missing, no time, in 1970, in 2015, in 9999",
    holds="none that cannot be is believed (the design refuses a credential without an end); no tight loop follows",
)
def test_b10_an_end_that_is_no_time(story):
    hosts = story.strike_each([fault for fault, _ in NO_ENDS])
    story.sections["renew"] = {"floor": "5s"}
    story.start()
    for host, (_, code) in zip(hosts, NO_ENDS, strict=True):
        story.refuses(code, host=host)
        if code == "expired_on_arrival":
            assert len(story.calls(host)) == 1
    story.aws.lift_faults()
    story.mended()


@row(
    "B11",
    provoked="credentials that live for one second",
    holds="they are renewed no more often than the floor, status says when they have ended",
)
def test_b11_a_life_shorter_than_the_floor(story):
    story.sections["renew"] = {"floor": "2s"}
    story.affects(VICTIM, SOUND)
    story.aws.world.lifetime = 1
    story.start()
    story.until(lambda: "expired" in story.states().values(), "the end")
    story.until(lambda: len(story.calls()) >= 3, "two renewals")
    assert all(later.at - earlier.at >= 1.9 for earlier, later in pairwise(story.calls()))
    story.aws.world.lifetime = 3600
    story.settle()


@row(
    "B12",
    provoked="the registry takes a password no more, long before its end",
    holds="the next check finds it out, and one renewal mends it",
)
def test_b12_a_password_that_is_revoked(story):
    story.sections["check"] = {"every": "1s"}
    story.start().settle()
    before = story.password()

    story.aws.revoke(region="eu-west-1")

    story.until(lambda: story.password() != before, "another password")
    story.settle()
    assert len(story.calls()) == 2
    assert "code=invalid_keys" in story.log


@row(
    "B13",
    provoked="the answer names another host, scheme, address, user or port as its proxyEndpoint",
    holds="which host a login is for is the settings' word alone; no other entry is written",
)
def test_b13_a_proxy_endpoint_of_somebody_else(story):
    elsewhere = ("https://evil.example", "http://10.0.0.1:5000", "https://me:x@quay.io/", "x" * 5000, None, 7)
    hosts = story.strike_each([answer(proxyEndpoint=each) for each in elsewhere])
    story.start()
    names = {VICTIM, SOUND, *hosts}
    story.until(lambda: set(story.keeper.auths()) == names | {"quay.io"}, "the logins asked for")
    for host in hosts:
        assert story.aws.accepts(host, story.password(host))
    story.given_though_altered |= set(hosts)
    story.settle()


@row(
    "B14",
    provoked="a registry of another account, for which AWS answers with the caller's own",
    holds="the login is for the host of the settings, and the registry takes it",
)
def test_b14_another_account_s_registry(story):
    other = "999988887777.dkr.ecr.eu-west-1.amazonaws.com"
    story.registries.append({"host": other})
    story.affects(VICTIM, other)
    story.start().settle()
    assert story.aws.accepts(other, story.password(other))
    assert len(story.calls()) == 1


ODD = (
    "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn",
    "111122223333.dkr.ecr.us-gov-west-1.amazonaws.com",
    "111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov",
    "111122223333.dkr.ecr-fips.us-west-1.amazonaws.com",
    "111122223333.dkr-ecr.eu-west-2.on.aws",
    "111122223333.dkr-ecr-fips.us-west-2.on.aws",
)


@row(
    "B15",
    provoked="registries in China, GovCloud, ISO, with FIPS, dual-stack, both",
    holds="each is known by its host, asked for in its region, and logged in to",
)
def test_b15_odd_regions_and_partitions(story):
    story.registries += [{"host": host} for host in ODD]
    story.affects(*ODD)
    story.start().settle()
    assert {region_of(host) for host in ODD} <= {call.region for call in story.aws.calls(service="ecr")}


@row(
    "B16",
    provoked="a chain of two roles, whose sessions AWS ends after an hour at most",
    holds="every renewal assumes both anew: no session is kept beyond one question",
)
def test_b16_sessions_of_roles(story):
    first = "arn:aws:iam::111122223333:role/first"
    story.victim["role_arn"] = [first, ROLE]
    story.aws.world.lifetime = 4
    story.start().settle()
    before = story.password()
    story.until(lambda: story.password() != before, "a renewal")
    story.aws.world.lifetime = 3600

    renewals = len(story.calls(action="GetAuthorizationToken"))
    assumed = [call.target for call in story.aws.calls(action="AssumeRole")]
    assert len(assumed) >= 4
    assert assumed[:4] == [first, ROLE] * 2
    assert len(assumed) <= 2 * (renewals + 1)
    story.settle()


@row(
    "B17",
    provoked="an external id and a session name that STS would never take",
    holds="the settings are refused with the key's name, exit 78; a running daemon keeps the ones it has",
)
def test_b17_what_sts_would_never_take(story):
    story.start().settle()
    for key, value in (("external_id", "x"), ("session_name", "a b")):
        story.victim |= {"role_arn": ROLE, key: value}
        story.write()
        checked = story.run("check")
        assert checked.returncode == 78
        assert key in checked.stderr
        del story.victim[key]
    story.hurry()
    story.problem = True
    story.until(lambda: story.keeper.document["problem"], "the problem")
    assert set(story.states().values()) == {"in_place"}


@row(
    "B18",
    provoked="AWS does not take the signature, with a clock that is right and with one that is not",
    holds="only a clock that is off is called so, by how much; else the keys are",
)
@pytest.mark.parametrize(
    ("skew", "code", "words"), [(0, "invalid_keys", "RequestExpired"), (-7200, "clock_skew", "2 hours ahead")]
)
def test_b18_a_signature_that_is_not_taken(story, skew, code, words):
    story.affects(VICTIM, SOUND)
    with story.aws.fault(Fault(**IN_EU, error="RequestExpired", status=400)):
        story.aws.world.clock_skew = skew
        story.start().refuses(code, words)
    story.aws.world.clock_skew = 0
    story.mended()
