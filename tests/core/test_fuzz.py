"""Almost right settings, lines and config.jsons: each is taken for what it is, or refused in a word; nothing else.

In CI a hundred of each are tried, by `make fuzz` ten thousand. What that finds becomes an example here.
"""

import base64
import json
from datetime import timedelta
from functools import partial

from hypothesis import example, given

from ecrlogind.core.codec import WireError, decode, encode
from ecrlogind.core.credential import Secret
from ecrlogind.core.dockerconfig import Unfit, Wish, digest, find, merge, twins
from ecrlogind.core.grammar import Document, parse
from ecrlogind.core.identity import Identity
from ecrlogind.core.mistake import Mistake
from ecrlogind.core.settings import Settings, SettingsError
from ecrlogind.core.wire import (
    Call,
    Errand,
    Found,
    Instance,
    Issued,
    Probe,
    Question,
    Report,
    Was,
    decode_answer,
    encode_answer,
)
from ecrlogind.courier.file import decode as text_of
from ecrlogind.keeper import settingsfile
from tests.support.bounded import examples
from tests.support.nearly import nearly

A = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "222222222222.dkr.ecr.us-east-1.amazonaws.com"

SETTINGS = """\
registries = ["self", "111111111111.dkr.ecr.eu-west-1.amazonaws.com", "public.ecr.aws",
  { account = "210987654321", region = "self", also = ["fips", "dual-stack"] },
  { host = "210987654321.dkr.ecr.us-east-1.amazonaws.com", name = "push", duration = "1h",
    role_arn = ["arn:aws:iam::210987654321:role/a", "arn:aws:iam::210987654321:role/b"], external_id = "x:1",
    scope = "pull", images = ["base:latest"], session_name = "me" },
]
destinations = [
  { user = "root", registries = ["self"] }, { user = "ci", via = "helper", on_shadow = "fix" },
  { path = "/run/ecrlogind/docker/config.json", owner = "root", group = "docker", mode = "0640", on_login = "keep" },
]
log = "journal"
[boot]
ready = "settled"
timeout = "1min"
[renew]
at = 0.5
jitter = 0.1
floor = "60s"
[aws]
profile = "ci"
deadline = "20s"
proxy = "http://user:canary-of-the-proxy@proxy.example:3128"
endpoints = { ecr = "https://ecr.example", imds = "http://127.0.0.1:1338" }
[check]
registry = true
every = "1h"
[metrics]
textfile = "/var/lib/node_exporter/ecrlogind.prom"
[stop]
logout = false
"""


@given(nearly([SETTINGS]))
@example(SETTINGS.encode())
@examples(100)
def test_almost_right_settings_are_settings_or_problems_of_a_line_each(content):
    try:
        found = parse([Document("/etc/ecrlogind/config.toml", settingsfile._parse(content))], runs_as="root")
    except Mistake as mistake:
        said = [mistake.message, mistake.hint]
    except SettingsError as error:
        said = [part for each in error.problems for part in (each.key, each.message, each.hint)]
    else:
        assert isinstance(found, Settings)
        return
    assert said
    assert all(part.isprintable() for part in said)
    assert all(len(part) < 1000 for part in said)
    assert not any("canary-of-the-proxy" in part for part in said)


PASSWORD = "canary-of-the-password"
TENS = timedelta(seconds=10)
CALL = Call(Identity(roles=("arn:aws:iam::111111111111:role/ci",)), "eu-west-1")
LINES = [
    encode(Errand("/root/.docker/config.json", "/root", {A: Secret(PASSWORD)}, TENS, (OTHER,), watch=True, mode=0o600)),
    encode(Question((CALL,), TENS, probes=(Probe(A, "AWS", Secret(PASSWORD)),), files={"AWS_CONFIG_FILE": "[x]"})),
    encode(Report({A: Found(Was.FOREIGN, is_ours=False, digest="0" * 64, ends_at=7)}, changed=True)),
    *(encode_answer(each) for each in (Issued(CALL, "AWS", Secret(PASSWORD), TENS), Instance("1" * 12, "r", "i-1"))),
]


@given(nearly(LINES))
@examples(100)
def test_an_almost_right_line_is_a_message_or_an_error_that_does_not_quote_it(line):
    for read in (decode_answer, *(partial(decode, kind) for kind in (Errand, Question, Report))):
        said = "read"
        try:
            read(line)
        except WireError as error:
            said = str(error)
        assert PASSWORD not in said
        assert said.isprintable()


def auth(password):
    return base64.b64encode(f"AWS:{password}".encode()).decode()


CONFIG = json.dumps(
    {
        "auths": {
            "quay.io": {"auth": auth("theirs"), "email": "a@b"},
            A: {"auth": auth("old")},
            twins(A)[0]: {"auth": auth("old")},
            f"{A}/team": {"auth": auth("team")},
        },
        "credHelpers": {OTHER: "ecr-login", "gcr.io": "gcloud"},
        "HttpHeaders": {"X-Meta": 1.5e300, "\u00e9": [1, {}, None]},
    },
    indent=4,
    ensure_ascii=False,
)
WISH = Wish({A: auth("new")}, helpers=(), remove=(OTHER,), delivered={A: (digest(auth("old")),)}, replace=(A,))


@given(nearly([CONFIG, CONFIG.replace("\n", "\r\n"), json.dumps(json.loads(CONFIG)), "{}", '{"auths":{}}']))
@example(b'{"auths": {"quay.io": {"auth": "\\ud800"}}}')
@examples(200)
def test_the_bytes_of_an_almost_right_config_are_merged_without_a_loss_or_left_alone(content):
    try:
        text = text_of(content)
        found, merged = find(text, WISH), merge(text, WISH)
    except Unfit as unfit:
        said = [str(unfit), unfit.hint]
    else:
        said = []
    if said:
        assert all(said)
        return
    assert found[A].is_ours
    assert merge(merged, WISH) is merged
    # Python's own parser sees what it saw before, but for what is ours to change.
    before, after = (_theirs(json.loads(each or "{}")) for each in (text.strip(" \t\r\n"), merged))
    assert after == before
    assert json.loads(merged)["auths"][A] == {"auth": auth("new")}


def _theirs(document):
    """Return what is not ours of a config.json."""
    left = dict(document)
    auths = {key: value for key, value in (left.pop("auths", None) or {}).items() if key not in (A, *twins(A))}
    helpers = {key: value for key, value in (left.pop("credHelpers", None) or {}).items() if value != "ecrlogind"}
    # NaN, which Python reads, equals nothing, not even itself.
    return json.dumps([left, auths, helpers], sort_keys=True)
