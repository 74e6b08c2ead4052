"""A: boot, network, IMDS."""

import os
import pwd
import shutil
import socket
from pathlib import Path

import pytest

from standin import Fault, Proxy
from standin.tls import Authority
from tests.support.need import need
from tests.support.netns import Network
from tests.support.rows import row
from tests.support.story import IN_EU, SOUND, VICTIM


@pytest.fixture
def free_port():
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def imds(story, action=None):
    return story.aws.calls(service="imds", **({"action": action} if action else {}))


@row(
    "A1",
    provoked="the daemon starts on a host without any network; later it comes up",
    holds="it runs, tells what is missing, keeps trying, and is logged in within 5 s of the network",
)
def test_a1_boot_without_a_network(story):
    with Network(story) as network:
        story.affects(VICTIM, SOUND)
        story.of_aws["deadline"] = "4s"
        story.start(prefix=network.prefix)
        story.until(lambda: story.states() and set(story.states().values()) <= {"pending", "failed"}, "a status")
        story.refused |= {VICTIM, SOUND}
        story.refuses("no_network", host=SOUND)
        story.refuses("no_network", host=VICTIM)
        story.refused.clear()

        network.come_up()

        story.settle()
        asked = min(call.at for call in story.aws.calls())
        assert network.later(asked) < 5
        story.hold()


@row(
    "A2",
    provoked="IMDS refuses the connection; later it listens",
    holds="the message names IMDS and where it was looked for; one line in the log, however many tries",
)
def test_a2_imds_refuses(story, free_port):
    story.endpoints["imds"] = f"http://127.0.0.1:{free_port}"
    story.of_aws["deadline"] = "1s"
    story.start().refuses("imds_unreachable", f"127.0.0.1:{free_port}")
    story.until(lambda: story.registry()["failures"] >= 3, "three tries")
    assert story.log.count("code=imds_unreachable") == 1

    story.of_aws["deadline"] = "10s"
    story.write()
    story.aws.listen("127.0.0.1", free_port, tls=False)
    story.mended()


@row(
    "A3",
    provoked="IMDS takes 0.9 s for each answer; or so long that the deadline passes, and then is itself again",
    holds="slow is waited for; too slow is refused and tried again, and is never taken for `no credentials`",
)
@pytest.mark.parametrize("latency", [0.9, 30])
def test_a3_imds_is_slow(story, latency):
    story.of_aws["deadline"] = "6s" if latency < 1 else "2s"
    slow = story.aws.fault(Fault(service="imds", action="role", latency=latency))
    story.start()
    if latency > 1:
        story.refuses("imds_unreachable", "in time")
        slow.lift()
        story.mended()
    story.settle()


@row(
    "A4",
    provoked="the hop limit: IMDS takes connections and never answers the request for a token",
    holds="a diagnosis of its own with the command that raises the limit; no fallback to version 1 of IMDS",
)
def test_a4_the_hop_limit(story):
    story.aws.instance.state = "no_answer"
    story.of_aws["deadline"] = "3s"
    story.start().refuses("imds_unreachable", "hop limit", "--http-put-response-hop-limit 2")
    assert {call.method for call in imds(story)} == {"PUT"}

    story.aws.instance.state = "ok"
    story.mended()


@row(
    "A5",
    provoked="IMDS answers 401 or 403 to everything, or 404 for the role",
    holds="each is named for what it is, with what mends it; the login follows once it answers",
)
@pytest.mark.parametrize(
    ("state", "fault", "code", "words"),
    [
        ("disabled", None, "imds_unreachable", "403"),
        ("no_role", None, "no_role", "no role is attached"),
        ("ok", {"action": "role", "body": "", "status": 401}, "imds_unreachable", "401"),
    ],
)
def test_a5_imds_says_no(story, state, fault, code, words):
    story.aws.instance.state = state
    if fault:
        story.aws.fault(Fault(service="imds", **fault))
    story.start().refuses(code, words)

    story.aws.instance.state = "ok"
    story.aws.lift_faults()
    story.mended()


@row(
    "A6",
    provoked="a role is attached only after several tries in vain",
    holds="nobody need do anything: the login is there within 30 s",
)
def test_a6_a_role_that_comes_late(story):
    story.aws.instance.role = None
    story.start().refuses("no_role")
    story.until(lambda: story.registry()["failures"] >= 3, "three tries")

    story.aws.instance.role = "runner"

    story.refused.clear()
    story.settle(within=45)


@row(
    "A7",
    provoked="IMDS answers 200 with an error in JSON, or with a page in HTML",
    holds="that is a refusal and no credential; AWS is not asked with it; what it said is told",
)
@pytest.mark.parametrize(
    ("state", "code", "words"),
    [("json_error", "no_role", "AssumeRoleUnauthorizedAccess"), ("html", "malformed_answer", "no role")],
)
def test_a7_imds_answers_nonsense(story, state, code, words):
    story.aws.instance.state = state
    story.start().refuses(code, words)
    assert story.calls() == []

    story.aws.instance.state = "ok"
    story.mended()


@row(
    "A8",
    provoked="IMDS answers 429 to all but the token",
    holds="at most four requests for each try, and fewer tries the longer it lasts",
)
def test_a8_imds_throttles(story):
    story.aws.instance.state = "throttled"
    story.start().refuses("throttled", "429", "later each time")
    story.until(lambda: story.registry()["failures"] >= 2, "the second try")
    # One try may be under way.
    assert len(imds(story)) <= 4 * (story.registry()["failures"] + 1)

    story.aws.instance.state = "ok"
    story.mended()


@row(
    "A9",
    provoked="the instance's role is replaced by another meanwhile, and AWS takes the old one's keys no more",
    holds="the next renewal signs as the new role",
)
def test_a9_the_role_is_replaced(story):
    story.aws.world.lifetime = 4
    story.start().settle()
    old = {call.access_key for call in story.calls()}

    story.aws.instance.role = "other"
    for each in old:
        story.aws.world.identities.forget(each)

    story.until(
        lambda: story.calls()[-1].role and story.calls()[-1].role.endswith("role/other"), "a renewal as the other"
    )
    story.aws.world.lifetime = 3600
    story.settle()


@row(
    "A10",
    provoked="the first try is made while IMDS is down, which spoils a boto3 client for good",
    holds="the next try is a new process with a new client, and succeeds",
)
def test_a10_a_client_made_too_early(story, free_port):
    story.endpoints["imds"] = f"http://127.0.0.1:{free_port}"
    story.of_aws["deadline"] = "5s"
    story.start().refuses("imds_unreachable")

    story.aws.listen("127.0.0.1", free_port, tls=False)

    story.refused.clear()
    story.settle(within=45)


@row(
    "A11",
    provoked="HOME names a directory with AWS files of somebody's; variables ask for other paths, retries, modes",
    holds="the files of the passwd home count, whatever HOME says (AWS's own variables do count, by the design); "
    "each call is made once, and none to version 1 of IMDS",
)
def test_a11_an_environment_with_wishes(story):
    home = story.directory / "home"
    (home / ".aws").mkdir(parents=True)
    fallen = story.directory / "fallen"
    (home / ".aws" / "config").write_text(f"[default]\ncredential_process = /usr/bin/touch {fallen}\n")
    need(not (Path(pwd.getpwuid(os.getuid()).pw_dir) / ".aws").exists(), "a home without AWS files")
    story.keeper.environment |= {
        "HOME": str(home),
        "AWS_DATA_PATH": str(home),
        "AWS_MAX_ATTEMPTS": "9",
        "AWS_DEFAULTS_MODE": "auto",
        "AWS_CREDENTIAL_FILE": "/etc/passwd",
    }
    throttled = story.aws.fault(Fault(**IN_EU, error="ThrottlingException", status=400))
    story.start().refuses("throttled")
    throttled.lift()
    story.mended()

    assert not fallen.exists()
    assert [call.status for call in imds(story)].count(401) == 0
    assert story.calls()[-1].role.endswith("role/runner")


@row(
    "A12",
    provoked="a name that does not resolve (NXDOMAIN), and a resolver that never answers",
    holds="the issuer is given up at its deadline and tried again; what needs no name is logged in meanwhile",
)
@pytest.mark.parametrize(("code", "words"), [("dns", "registry.invalid"), ("deadline", "in 3 seconds")])
def test_a12_names_do_not_resolve(story, code, words):
    need(os.geteuid() == 0 and shutil.which("unshare"), "root and unshare, for another resolv.conf")
    story.ask_with_keys("https://registry.invalid")
    story.of_aws["deadline"] = "3s"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nameserver:
        prefix = ()
        if code == "deadline":
            nameserver.bind(("127.53.53.53", 53))
            resolver = story.directory / "resolv.conf"
            resolver.write_text("nameserver 127.53.53.53\noptions timeout:30\n")
            bind = f"mount --bind {resolver} $(readlink -f /etc/resolv.conf)"
            prefix = ["unshare", "--mount", "sh", "-ec", f'{bind}; exec "$@"', "sh"]
        story.start(prefix=prefix).refuses(code, words)
        story.until(lambda: story.states()[SOUND, story.label("two")] == "in_place", "the other login")

        story.ask_with_keys(story.aws.url)
        story.mended()


@row(
    "A13",
    provoked="HTTP_PROXY and HTTPS_PROXY are set, and no NO_PROXY",
    holds="the proxy carries what is asked of AWS, and never sees a request to IMDS",
)
def test_a13_the_proxy_never_sees_imds(story):
    with Proxy() as proxy:
        story.keeper.environment |= {"HTTP_PROXY": proxy.url, "https_proxy": proxy.url}
        story.start().settle()
        assert proxy.asked
        assert len(imds(story)) >= 3
        assert {call.proxied for call in imds(story)} == {False}
        assert {call.proxied for call in story.calls()} == {True}
        story.hold()


@row(
    "A14",
    provoked="the proxy answers 407, refuses to connect, or never answers",
    holds="it is called the proxy's fault, by its address and without its password; the login follows once it lets us",
)
@pytest.mark.parametrize(("mode", "words"), [("authenticate", "407"), ("refuse", "403"), ("hang", "in time")])
def test_a14_the_proxy_is_in_the_way(story, mode, words):
    password = "ThePasswordOfTheProxy0123456789"
    story.secrets.append(password)
    story.of_aws |= {"ca_bundle": str(story.aws.ca_file), "deadline": "3s" if mode == "hang" else "10s"}
    story.ask_with_keys(story.aws.tls_endpoints["ecr"].replace("127.0.0.1", "localhost"))
    with Proxy(mode) as proxy:
        story.keeper.environment |= {
            "HTTPS_PROXY": proxy.url.replace("//", f"//user:{password}@"),
            "NO_PROXY": "127.0.0.1",
        }
        story.start().refuses("proxy", proxy.url.removeprefix("http://"), words)
        proxy.mode = "allow"
        story.mended()
        story.hold()


@row(
    "A15",
    provoked="the CA bundle is missing, is none, or is another's; the certificate is expired or somebody else's",
    holds="a hard refusal: nothing is sent unverified; the login follows once the bundle or the certificate is right",
)
@pytest.mark.parametrize("flaw", ["empty bundle", "other bundle", "expired", "other_name", "other_ca"])
def test_a15_a_certificate_that_cannot_be_trusted(story, flaw):
    story.ask_with_keys(story.aws.tls_endpoints["ecr"])
    bundle = story.directory / "ca.pem"
    right = story.aws.ca_file.read_text()
    other = Authority(story.directory / "other").file.read_text()
    bundle.write_text({"empty bundle": "", "other bundle": other}.get(flaw, right))
    if "bundle" not in flaw:
        story.aws.flaw(flaw)
    story.of_aws["ca_bundle"] = str(bundle)
    story.start().refuses("tls", "ca_bundle")
    assert story.calls() == []

    bundle.write_text(right)
    story.aws.flaw(None)
    story.mended()


@row(
    "A16",
    provoked="a captive portal: a page in HTML with status 200, or a redirect to another place",
    holds="no redirect is followed with a signed request, and no page taken for an answer; what it looks like is told",
)
@pytest.mark.parametrize(("behaviour", "words"), [("html", "captive portal"), ("redirect", "redirect (302)")])
def test_a16_a_captive_portal(story, behaviour, words):
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0)
        location = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"
        portal = story.aws.fault(Fault(**IN_EU, behaviour=behaviour, location=location))
        story.start().refuses("malformed_answer", words)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()

    portal.lift()
    story.mended()
