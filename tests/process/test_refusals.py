"""Every refusal there is, provoked for real in front of the real daemon: named, explained, retried, and no other's."""

import os
import signal
import socket
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from ecrlogind.core.refusal import INCURABLE, Code
from standin import Fault, Proxy, Role, StandIn
from tests.support.keeper import until
from tests.support.processes import children

SOUND = "444455556666.dkr.ecr.us-east-1.amazonaws.com"
VICTIM = "777788889999.dkr.ecr.eu-west-1.amazonaws.com"
ROLE = "arn:aws:iam::777788889999:role/pull"
IN_EU = {"service": "ecr", "region": "eu-west-1"}
LONGEST_WAIT = timedelta(seconds=30)
# The others take their time until the second try: AWS asks for it, or the deadline must pass.
AGAIN_SOON = frozenset(Code) - {
    Code.THROTTLED,
    Code.EXPIRED_ON_ARRIVAL,
    Code.DEADLINE,
    Code.IMDS_UNREACHABLE,
    Code.PULL_DENIED,
    Code.ISSUER_FAILED,
}


@dataclass
class Setup:
    """A host with two registries, each asked for with a profile and at an endpoint of its own.

    A provocation changes the victim's: *keys*, *endpoint*, *entry* (beside the host), or *environment* and sections of
    the settings for all. *words* are what the status must say; *cures* are called in turn to mend it; *at_least* is
    how long the next try must be put off.
    """

    aws: StandIn
    keeper: object
    tmp: object
    keys: object = None
    endpoint: str = ""
    entry: dict = field(default_factory=lambda: {"profile": "victim"})
    sections: dict = field(default_factory=dict)
    words: tuple = ()
    cures: list = field(default_factory=list)
    at_least: timedelta = timedelta(0)
    opened: list = field(default_factory=list)

    def open(self, manager):
        """Enter a context until the test ends."""
        value = manager.__enter__()
        self.opened.append(manager)
        return value

    def strike(self, **fault):
        """Let a fault strike every call for the victim."""
        self.cures.append(self.aws.fault(Fault(**IN_EU, **fault)).lift)

    def hand_over(self):
        """Write the AWS files and the settings."""
        sound = self.aws.user("444455556666", "sound")
        parts = (("sound", sound, self.aws.url), ("victim", self.keys, self.endpoint))
        config = "".join(f"[profile {name}]\nendpoint_url = {url}\n" for name, _, url in parts)
        keys = "".join(
            f"[{name}]\naws_access_key_id = {user.access_key}\naws_secret_access_key = {user.secret_key}\n"
            for name, user, _ in parts
        )
        (self.tmp / "config").write_text(config)
        (self.tmp / "keys").write_text(keys)
        endpoints = {name: url for name, url in self.aws.endpoints.items() if name in ("imds", "registry")}
        aws = {"config_file": str(self.tmp / "config"), "credentials_file": str(self.tmp / "keys"), "deadline": "4s"}
        sections = {"aws": aws | {"endpoints": endpoints} | self.sections.pop("aws", {})} | self.sections
        self.keeper.write_settings([{"host": SOUND, "profile": "sound"}, {"host": VICTIM, **self.entry}], **sections)

    def dead_endpoint(self):
        """Return a URL that nobody listens at until the test ends."""
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self.opened.append(sock)
        return f"http://127.0.0.1:{sock.getsockname()[1]}"

    def lead_back(self):
        """Let the victim go where it should from now on."""
        self.endpoint = self.aws.url
        self.hand_over()


@pytest.fixture
def setup(aws, keeper, private_path):
    one = Setup(aws, keeper, private_path)
    one.keys = aws.user("777788889999", "victim")
    one.endpoint = aws.url
    yield one
    keeper.end()
    for manager in one.opened:
        manager.__exit__(None, None, None)


def no_network(setup):
    setup.endpoint = setup.dead_endpoint()
    setup.words = ("refused", "routes and firewall")
    setup.cures = [setup.lead_back]


def dns(setup):
    setup.endpoint = "https://registry.invalid"
    setup.words = ("registry.invalid", "resolv.conf")
    setup.cures = [setup.lead_back]


def tls(setup):
    setup.endpoint = setup.aws.tls_endpoints["ecr"]
    setup.words = ("certificate", "ca_bundle")
    setup.cures = [setup.lead_back]


def proxy(setup):
    in_the_way = setup.open(Proxy("refuse"))
    setup.endpoint = setup.aws.tls_endpoints["ecr"].replace("127.0.0.1", "localhost")
    setup.sections["aws"] = {"ca_bundle": str(setup.aws.ca_file)}
    setup.keeper.environment |= {"HTTPS_PROXY": in_the_way.url, "NO_PROXY": "127.0.0.1"}
    setup.words = (in_the_way.url.removeprefix("http://"), "403", "NO_PROXY")
    setup.cures = [lambda: setattr(in_the_way, "mode", "allow")]


def imds_unreachable(setup):
    setup.aws.instance.state = "no_answer"
    setup.entry = {}
    setup.sections["aws"] = {"endpoints": setup.aws.endpoints}
    setup.words = ("hop limit",)
    setup.cures = [lambda: setattr(setup.aws.instance, "state", "ok")]


def no_role(setup):
    setup.aws.instance.role = None
    setup.entry = {}
    setup.sections["aws"] = {"endpoints": setup.aws.endpoints}
    setup.words = ("no role is attached", "instance profile", "30 seconds")
    setup.cures = [lambda: setattr(setup.aws.instance, "role", "runner")]


def no_credentials(setup):
    setup.entry = {"profile": "nowhere"}
    setup.words = ("no profile nowhere", "[aws]")

    def add():
        with (setup.tmp / "config").open("a") as config:
            config.write(f"[profile nowhere]\nendpoint_url = {setup.aws.url}\n")
        with (setup.tmp / "keys").open("a") as keys:
            keys.write(
                f"[nowhere]\naws_access_key_id = {setup.keys.access_key}\n"
                f"aws_secret_access_key = {setup.keys.secret_key}\n"
            )

    setup.cures = [add]


def invalid_keys(setup):
    setup.aws.world.identities.forget(setup.keys.access_key)
    setup.words = ("UnrecognizedClientException", "Renew the keys")
    setup.cures = [lambda: setattr(setup, "keys", setup.aws.user("777788889999", "new")), setup.hand_over]


def clock_skew(setup):
    elsewhere = setup.open(StandIn(setup.tmp / "elsewhere"))
    elsewhere.world.identities.add(setup.keys)
    elsewhere.world.clock_skew = 3 * 3600
    setup.endpoint = elsewhere.url
    setup.words = ("clock is 3 hours behind", "chronyd")
    setup.cures = [setup.lead_back]


def access_denied(setup):
    denial = setup.aws.deny("ecr:GetAuthorizationToken", identity="*:user/victim")
    setup.words = ("ecr:GetAuthorizationToken is denied to profile:victim", "policy")
    setup.cures = [denial.lift]


def assume_role_denied(setup):
    setup.aws.world.identities.roles[ROLE] = Role(external_id="other")
    setup.entry = {"profile": "victim", "role_arn": ROLE, "external_id": "runners"}
    setup.words = (ROLE, "trust policy", "external id")
    setup.cures = [lambda: setup.aws.world.identities.roles.update({ROLE: Role(external_id="runners")})]


def throttled(setup):
    setup.strike(error="ThrottleException", status=400, retry_after=9)
    setup.words = ("ThrottleException", "later each time")
    setup.at_least = timedelta(seconds=9)


def service_error(setup):
    setup.strike(error="ServerException", status=500)
    setup.words = ("500 ServerException", "Health Dashboard")


def malformed_answer(setup):
    setup.strike(behaviour="html")
    setup.words = ("captive portal",)


def expired_on_arrival(setup):
    setup.strike(put={"authorizationData.0.expiresAt": 1420070400})
    setup.sections["renew"] = {"floor": "5s"}
    setup.words = ("days before it was given",)
    setup.at_least = timedelta(seconds=5)


def deadline(setup):
    setup.strike(behaviour="hang")
    setup.words = ("in time", "[aws] deadline")


def pull_denied(setup):
    setup.aws.world.add_image("base:latest")
    setup.entry["images"] = ["base:latest"]
    setup.sections["check"] = {"every": "1s"}
    denial = setup.aws.deny("ecr:BatchGetImage", identity="*:user/victim")
    setup.words = ("ecr:BatchGetImage is denied", "base:latest", "repository's policy")
    setup.cures = [denial.lift]


def issuer_failed(setup):
    setup.strike(behaviour="hang")
    setup.words = ("the issuer gave no answer", "journalctl")


def row(document, host):
    """Return a registry's row of a status document, without what it has not said yet."""
    rows = [each for each in (document or {"registries": []})["registries"] if each["host"] == host]
    return rows[0] if rows else {"error": None, "failures": 0}


@pytest.mark.parametrize("code", Code)
def test_each_refusal_is_named_and_explained_and_retried_and_harms_no_other(code, setup, aws, keeper):
    globals()[code](setup)
    setup.hand_over()

    with keeper.running():
        until(lambda: keeper.states().get(SOUND) == "in_place", "the login of the other")
        if code is Code.ISSUER_FAILED:
            [issuer] = until(lambda: children(keeper.process.pid, "ecrlogind.issuer"), "the issuer")
            os.kill(issuer, signal.SIGKILL)
        until(lambda: (row(keeper.document, VICTIM)["error"] or {}).get("code") == code, f"{code} in the status")
        document = keeper.document
        found = row(document, VICTIM)
        [login] = [each for each in document["logins"] if each["host"] == VICTIM]
        assert (login["state"], found["state"]) == ("failed", "failing")
        assert login["error"] == found["error"]
        for words in setup.words:
            assert words in f"{found['error']['message']} | {found['error']['hint']}"
        assert document["verdict"] == "failing"
        assert f"code={code}" in keeper.log, keeper.log

        if code is not Code.PULL_DENIED:  # that is the registry's word about a credential, which AWS did give
            assert found["failures"] >= 1
            wait = datetime.fromisoformat(found["renew_at"]) - datetime.fromisoformat(document["updated_at"])
            assert wait <= LONGEST_WAIT
            assert wait >= setup.at_least - timedelta(seconds=3)
        if code in AGAIN_SOON:
            until(lambda: row(keeper.document, VICTIM)["failures"] >= 2, "the second try")
            tries = [call.at for call in aws.calls() if call.service in ("ecr", "sts") and call.region == "eu-west-1"]
            assert len(tries) <= row(keeper.document, VICTIM)["failures"] + 1
            assert all(later - earlier >= 0.5 for earlier, later in pairwise(tries))
        if code in INCURABLE:
            until(lambda: keeper.document["ready"], "readiness: no waiting cures this")
        else:
            assert not document["ready"]

        for cure in setup.cures:
            cure()
        keeper.process.send_signal(signal.SIGHUP)  # what was lacking is asked for at once
        keeper.wait_for(states={SOUND: "in_place", VICTIM: "in_place"})
        assert row(keeper.document, VICTIM)["error"] is None
        assert aws.accepts(VICTIM, keeper.password(VICTIM))
        assert len(aws.calls(service="ecr", region="us-east-1")) == 1
