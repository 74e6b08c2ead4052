"""The grammar of the settings: what it takes, and what it says of everything else."""

import tomllib
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrlogind.core.clashes import clashes
from ecrlogind.core.duration import format_duration, parse_duration
from ecrlogind.core.entries import DESTINATION_KEYS, REGISTRY_KEYS
from ecrlogind.core.grammar import Document, parse
from ecrlogind.core.identity import HOST, Identity
from ecrlogind.core.keys import SECTIONS
from ecrlogind.core.settings import (
    AwsSettings,
    Boot,
    Check,
    Destination,
    Ready,
    RegistryEntry,
    Settings,
    SettingsError,
    Via,
)
from ecrlogind.core.wire import Instance

HOST_A = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
HOST_B = "210987654321.dkr.ecr.us-east-1.amazonaws.com"
PULL = "arn:aws:iam::210987654321:role/ci-pull"
PUSH = "arn:aws:iam::210987654321:role/ci-push"

EVERYTHING = f"""
registries = [
  "self",
  "{HOST_A}",
  {{ account = "210987654321", region = "self" }},
  {{ host = "{HOST_B}", role_arn = "{PULL}", external_id = "runners", scope = "pull", images = ["base:latest"] }},
  {{ host = "{HOST_B}", name = "push", role_arn = ["{PULL}", "{PUSH}"], session_name = "ci", duration = "1h" }},
  {{ host = "ecr.example.com", account = "012345678901", region = "cn-north-1", also = ["dual-stack", "fips"] }},
  "public.ecr.aws",
]
destinations = [
  {{ user = "root", registries = ["self", "public.ecr.aws"] }},
  {{ user = "gitlab-runner", on_shadow = "fix", on_login = "replace" }},
  {{ user = "deploy", registries = ["push"], via = "docker-login" }},
  {{ path = "/run/ecrlogind/docker/config.json", owner = "root", group = "docker", mode = "0640" }},
]
log = "stderr"

[boot]
ready = "all"
timeout = "1h 30min"

[renew]
at = 0.4
jitter = 0
floor = "500ms"

[aws]
config_file = "/etc/aws/config"
credentials_file = "/etc/aws/credentials"
ca_bundle = "/etc/ssl/ours.pem"
proxy = "http://us:secret@proxy.example:3128"
deadline = "5s"
imds = "ipv6"
use_fips = true
use_dualstack = true
endpoints = {{ ecr = "https://vpce-1.api.ecr.eu-west-1.vpce.amazonaws.com", imds = "http://169.254.169.254" }}

[check]
registry = false
every = "2h"

[metrics]
textfile = "/var/lib/node_exporter/ecrlogind.prom"

[stop]
logout = true
"""


def settings(*texts, runs_as="root"):
    """Parse TOML texts, the main file first."""
    files = ["config.toml", *(f"config.d/{number}.toml" for number in range(1, len(texts)))]
    return parse([Document(f, tomllib.loads(t)) for f, t in zip(files, texts, strict=True)], runs_as=runs_as)


def problems(*texts):
    with pytest.raises(SettingsError) as caught:
        settings(*texts)
    return caught.value.problems


def problem(*texts):
    [only] = problems(*texts)
    return only


def test_everything_that_the_design_names_is_read():
    got = settings(EVERYTHING)

    pull = Identity(roles=(PULL,), external_id="runners", scope="pull")
    push = Identity(roles=(PULL, PUSH), session_name="ci", duration=timedelta(hours=1))
    assert got == Settings(
        registries=(
            RegistryEntry("self", "self", "self"),
            RegistryEntry(HOST_A, "123456789012", "eu-west-1"),
            RegistryEntry("210987654321 self", "210987654321", "self"),
            RegistryEntry(HOST_B, "210987654321", "us-east-1", identity=pull, images=("base:latest",)),
            RegistryEntry("push", "210987654321", "us-east-1", named=True, identity=push),
            RegistryEntry(
                "ecr.example.com", "012345678901", "cn-north-1", alias="ecr.example.com", also=("fips", "dual-stack")
            ),
            RegistryEntry("public.ecr.aws", None, "us-east-1"),
        ),
        destinations=(
            Destination(user="root", registries=("self", "public.ecr.aws")),
            Destination(user="gitlab-runner", on_shadow="fix", on_login="replace"),
            Destination(user="deploy", registries=("push",), via=Via.DOCKER_LOGIN),
            Destination(path="/run/ecrlogind/docker/config.json", owner="root", group="docker", mode=0o640),
        ),
        log="stderr",
        boot=Boot(Ready.ALL, timedelta(minutes=90)),
        renew=type(got.renew)(0.4, 0.0, timedelta(milliseconds=500)),
        aws=AwsSettings(
            config_file="/etc/aws/config",
            credentials_file="/etc/aws/credentials",
            ca_bundle="/etc/ssl/ours.pem",
            proxy="http://us:secret@proxy.example:3128",
            deadline=timedelta(seconds=5),
            imds="ipv6",
            use_fips=True,
            use_dualstack=True,
            endpoints={
                "ecr": "https://vpce-1.api.ecr.eu-west-1.vpce.amazonaws.com",
                "imds": "http://169.254.169.254",
            },
        ),
        check=Check(registry=False, every=timedelta(hours=2)),
        metrics_textfile="/var/lib/node_exporter/ecrlogind.prom",
        logout_on_stop=True,
    )


def test_without_any_file_the_instances_own_registry_goes_to_whom_we_run_as():
    got = parse([], runs_as="runner")

    assert got == Settings((RegistryEntry("self", "self", "self"),), (Destination(user="runner"),))


def test_a_list_that_no_file_has_keeps_its_default():
    assert settings('destinations = [{ user = "ci", registries = ["self"] }]').registries[0].name == "self"
    assert settings('registries = ["public.ecr.aws"]', runs_as="ci").destinations == (Destination(user="ci"),)


def test_drop_ins_append_to_the_lists_and_override_single_keys():
    got = settings(
        'registries = ["self"]\nlog = "stderr"\n[boot]\nready = "all"\ntimeout = "5s"\n'
        '[aws.endpoints]\necr = "https://a.example"\nsts = "https://b.example"',
        'registries = ["public.ecr.aws"]\n[boot]\ntimeout = "6s"\n[aws.endpoints]\nsts = "https://c.example"',
        'destinations = [{ user = "ci" }]\n[boot]\ntimeout = "7s"',
    )

    assert [entry.name for entry in got.registries] == ["self", "public.ecr.aws"]
    assert got.destinations == (Destination(user="ci"),)
    assert got.log == "stderr"
    assert got.boot == Boot(Ready.ALL, timedelta(seconds=7))
    assert got.aws.endpoints == {"ecr": "https://a.example", "sts": "https://c.example"}


def test_a_bad_value_is_reported_in_the_file_it_stands_in_even_where_a_later_file_overrides_it():
    found = problem('log = "jurnal"', 'log = "stderr"')

    assert (found.file, found.key) == ("config.toml", "log")


# Each: what is written, the key that is named, a part of the message, a part of the hint.
BAD = [
    # unknown keys, and keys that landed elsewhere
    ("registeries = ['self']", "registeries", "is no setting", "did you mean registries?"),
    ("registry = ['self']", "registry", "is no setting", "did you mean registries?"),
    ("destination = []", "destination", "is no setting", "did you mean destinations?"),
    ("logout = true", "logout", "is no setting here", "belongs to [stop]"),
    ("textfile = 'x'", "textfile", "is no setting here", "belongs to [metrics]"),
    ("user = 'x'", "user", "is no setting here", "belongs to an entry of destinations"),
    ("qqqqqq = 1", "qqqqqq", "is no setting", "there are registries, destinations, log, boot"),
    ("'a\\u0000\"b' = 1", "'a\\\\u0000\"b'", "is no setting", "there are"),
    ("[boot]\nlog = 'journal'", "boot.log", "stands below [boot]", "move it above the first [table]"),
    ("[boot]\nregistries = ['self']", "boot.registries", "stands below [boot]", "above the first [table]"),
    ("[aws.endpoints]\nregistries = 1", "aws.endpoints.registries", "stands below [aws.endpoints]", "above the first"),
    ("[boot.renew]\nat = 1", "boot.renew", "stands below [boot]", "write [renew], not [boot.renew]"),
    ("[boot]\nredy = 'all'", "boot.redy", "is no setting", "did you mean ready?"),
    ("[boot]\nfloor = '1s'", "boot.floor", "is no setting here", "belongs to [renew]"),
    ("[aws]\nuse_dual_stack = true", "aws.use_dual_stack", "is no setting", "did you mean use_dualstack?"),
    ("[aws]\nendpoint = {}", "aws.endpoint", "is no setting", "did you mean endpoints?"),
    ("[aws.endpoints]\ns3 = 'x'", "aws.endpoints.s3", "is no setting", "there are ecr, ecr-public, sts, imds"),
    ("[boto]\nx = 1", "boto", "is no setting", "did you mean boot?"),
    # wrong types
    ("log = 1", "log", "must be a text, not a number", 'in quotes: "1"'),
    ("boot = 'all'", "boot", "must be a table, not a text", "{ key = value"),
    ("registries = 'self'", "registries", "must be a list, not a text", 'write ["self"]'),
    ("[registries]\nhost = 'x'", "registries", "must be a list, not a table", "[[registries]]"),
    ("registries = [1]", "registries[0]", "must be a text or a table, not a number", "host"),
    ("destinations = ['root']", "destinations[0]", "must be a table, not a text", '{ user = "root" }'),
    ("[stop]\nlogout = 'True'", "stop.logout", "must be true or false, not a text", "write true, without quotes"),
    ("[check]\nregistry = 1", "check.registry", "must be true or false, not a number", "true or false"),
    ("[renew]\nat = '0.5'", "renew.at", "must be a number, not a text", "without quotes"),
    ("[renew]\nat = true", "renew.at", "must be a number, not a truth value", "0.5"),
    ("[boot]\ntimeout = 60", "boot.timeout", "has no unit", '"60s", "60min" or "60h"'),
    ("[boot]\ntimeout = '60'", "boot.timeout", "has no unit", '"60s", "60min" or "60h"'),
    ("[boot]\ntimeout = 1979-05-27", "boot.timeout", "must be a text, not a date", "in quotes"),
    ("destinations = [{ path = '/a/b', mode = 640 }]", "destinations[0].mode", "not a number", 'in quotes: "0640"'),
    ("destinations = [{ path = '/a/b', mode = 0o640 }]", "destinations[0].mode", "not a number", 'quotes: "0640"'),
    ("registries = [{ account = 123456789012 }]", "registries[0].account", "not a number", '"123456789012"'),
    # lists
    ("registries = []", "registries", "is an empty list", '["self"]'),
    ("destinations = []", "destinations", "is an empty list", "root"),
    (
        "destinations = [{ user = 'a', registries = [] }]",
        "destinations[0].registries",
        "is an empty list",
        "leave the key out",
    ),
    ("registries = [{ host = 'self', also = [] }]", "registries[0].also", "is an empty list", "fips"),
    # values
    ("log = 'jurnal'", "log", "'jurnal' is none of journal, stderr", 'did you mean "journal"?'),
    ("log = ''", "log", "is empty", "leave the key out"),
    ("[boot]\nready = 'x'", "boot.ready", "none of all, settled, immediately", "write"),
    ("[boot]\ntimeout = '1 fortnight'", "boot.timeout", "'fortnight' is no unit of time", "min"),
    ("[boot]\ntimeout = '-1s'", "boot.timeout", "is not a span of time", "90s"),
    ("[boot]\ntimeout = '0s'", "boot.timeout", "is out of range", '"100ms"'),
    ("[boot]\ntimeout = '9d'", "boot.timeout", "is out of range", '"1d"'),
    ("[boot]\ntimeout = '9999d'", "boot.timeout", "is longer than a year", "90s"),
    ("[renew]\nat = 1", "renew.at", "must be a fraction", "0.5"),
    ("[renew]\nat = nan", "renew.at", "must be a fraction", "0.5"),
    ("[renew]\njitter = -0.1", "renew.jitter", "must be a fraction", "0.5"),
    ("[renew]\nat = 0.3\njitter = 0.3", "renew.jitter", "leaves no time", "smaller than `at`"),
    ("[renew]\nat = 0.05", "renew.at", "leaves no time", "smaller than `at`"),
    ("[metrics]\ntextfile = '/a/b.txt'", "metrics.textfile", "does not end in .prom", "node_exporter"),
    ("[aws]\nconfig_file = '~/.aws/config'", "aws.config_file", "is not an absolute path", "~ is the shell's"),
    ("[aws]\nca_bundle = 'ca.pem'", "aws.ca_bundle", "is not an absolute path", "'/ca.pem'"),
    ("[aws]\nca_bundle = '/a/../b'", "aws.ca_bundle", "goes through . or ..", "without them"),
    ("[aws]\nca_bundle = '/a/'", "aws.ca_bundle", "is a directory's name", "name the file"),
    ('[aws]\nprofile = "a\\nb"', "aws.profile", "contains a control character", "take it out"),
    ('[aws]\nprofile = "a\\u202eb"', "aws.profile", "contains a control character", "take it out"),
    # endpoints and proxies
    ("[aws.endpoints]\necr = 'http://10.0.0.1'", "aws.endpoints.ecr", "is not encrypted", "https://10.0.0.1"),
    ("[aws.endpoints]\nsts = 'http://169.254.1.1'", "aws.endpoints.sts", "is not encrypted", "https://"),
    ("[aws.endpoints]\nimds = 'http://10.0.0.1'", "aws.endpoints.imds", "is not encrypted", "https://"),
    ("[aws.endpoints]\nsts = 'https://me@x.example'", "aws.endpoints.sts", "has a user name in it", "leave it out"),
    ("[aws.endpoints]\nsts = 'https://x.example/?a'", "aws.endpoints.sts", "more than a path", "leave out"),
    ("[aws.endpoints]\nsts = 'x.example'", "aws.endpoints.sts", "is not the URL of a server", "https://"),
    ("[aws.endpoints]\nsts = 'https://x:99999'", "aws.endpoints.sts", "is not the URL of a server", "https://"),
    ("[aws.endpoints]\nsts = 'https://x:0'", "aws.endpoints.sts", "is not the URL of a server", "https://"),
    ("[aws.endpoints]\nsts = 'https://[::1'", "aws.endpoints.sts", "is not the URL of a server", "https://"),
    ("[aws]\nproxy = 'socks5://x'", "aws.proxy", "is not the URL of a server", "http://proxy.example:3128"),
    ("[aws]\nproxy = 'http://x/path'", "aws.proxy", "is not the URL of a proxy", "http://proxy.example:3128"),
    # registries
    ("registries = ['selff']", "registries[0]", "is not an ECR registry", 'did you mean "self"?'),
    ("registries = ['docker.io']", "registries[0]", "is not an ECR registry", "public.ecr.aws"),
    ("registries = ['publik.ecr.aws']", "registries[0]", "is not an ECR", "did you mean public.ecr.aws?"),
    (f"registries = ['https://{HOST_A}/']", "registries[0]", "is not an ECR", f"bare host name: {HOST_A}"),
    (f"registries = ['{HOST_A[:-1]}']", "registries[0]", "is not an ECR", f"it would be {HOST_A}"),
    (f"registries = [{{ host = '{HOST_A[1:]}' }}]", "registries[0].host", "is not an ECR", "twelve digits"),
    ("registries = [{}]", "registries[0]", "names no registry", "host"),
    ("registries = [{ account = '1' }]", "registries[0].account", "is not an AWS account id", "twelve digits"),
    ("registries = [{ account = 'self' }]", "registries[0].region", "is missing", '"self"'),
    ("registries = [{ region = 'self' }]", "registries[0].account", "is missing", '"self"'),
    ("registries = [{ account = 'self', region = 'eu' }]", "registries[0].region", "not an AWS region", "eu-west-1"),
    (
        "registries = [{ host = 'a.example.com' }]",
        "registries[0].host",
        "is not an ECR registry",
        "an alias needs `account` and `region`",
    ),
    (
        f"registries = [{{ host = '{HOST_A}', account = '123456789012', region = 'self' }}]",
        "registries[0].host",
        "says account and region itself",
        "write `host` alone",
    ),
    (
        "registries = [{ host = 'A_b', account = 'self', region = 'self' }]",
        "registries[0].host",
        "is not a host name",
        "lower case",
    ),
    ("registries = [{ host = 'self', role_arn = 'x' }]", "registries[0].role_arn", "not a role's ARN", "arn:aws:iam"),
    (
        "registries = [{ host = 'self', role_arn = 'arn:aws:sts::123456789012:assumed-role/a/b' }]",
        "registries[0].role_arn",
        "not a role's ARN",
        "the role's own ARN",
    ),
    (
        "registries = [{ host = 'self', external_id = 'runners' }]",
        "registries[0].external_id",
        "has no effect without `role_arn`",
        "add the role",
    ),
    (
        f"registries = [{{ host = 'self', role_arn = '{PULL}', external_id = 'a b' }}]",
        "registries[0].external_id",
        "cannot be an external id",
        "2 to 1224",
    ),
    (
        f"registries = [{{ host = 'self', role_arn = '{PULL}', session_name = 'a b' }}]",
        "registries[0].session_name",
        "cannot be a session's name",
        '"a-b"',
    ),
    (
        f"registries = [{{ host = 'self', role_arn = '{PULL}', duration = '13h' }}]",
        "registries[0].duration",
        "is out of range",
        '"15min" and "12h"',
    ),
    (
        f"registries = [{{ host = 'self', role_arn = ['{PULL}', '{PUSH}'], duration = '2h' }}]",
        "registries[0].duration",
        "longer than AWS lets a chained role live",
        '"1h"',
    ),
    ("registries = [{ host = 'self', images = ['base'] }]", "registries[0].images", "not an image", '"base:latest"'),
    (
        f"registries = [{{ host = 'self', images = ['{HOST_A}/base:1'] }}]",
        "registries[0].images",
        "",
        'leave the host out: "base:1"',
    ),
    ("registries = [{ host = 'self', also = ['ipv6'] }]", "registries[0].also", "none of fips, dual-stack", "write"),
    ("registries = [{ host = 'public.ecr.aws', also = ['fips'] }]", "registries[0].also", "does not have", "out"),
    # destinations
    ("destinations = [{}]", "destinations[0]", "neither a user nor a path", "{ user ="),
    ("destinations = [{ user = 'a', path = '/a/b' }]", "destinations[0]", "a user and a path", "one of them"),
    ("destinations = [{ user = 'Git Lab' }]", "destinations[0].user", "cannot be a user's name", '"git-lab"'),
    ("destinations = [{ user = '-x' }]", "destinations[0].user", "cannot be a user's name", '"x"'),
    ("destinations = [{ user = 'a:b' }]", "destinations[0].user", "cannot be a user's name", '"a-b"'),
    ("destinations = [{ user = '../x' }]", "destinations[0].user", "cannot be a user's name", '"x"'),
    ("destinations = [{ user = '1000' }]", "destinations[0].user", "cannot be a user's name", "not its number"),
    ("destinations = [{ user = '..' }]", "destinations[0].user", "cannot be a user's name", "letters"),
    ("destinations = [{ user = 'm\u00fcller' }]", "destinations[0].user", "'m\\xfcller' cannot be", '"m-ller"'),
    ("destinations = [{ user = 'a', owner = 'b' }]", "destinations[0].owner", "belongs to a `path` only", "take it"),
    ("destinations = [{ path = 'a/b' }]", "destinations[0].path", "is not an absolute path", "'/a/b'"),
    ("destinations = [{ path = '/a', mode = '0o640' }]", "destinations[0].mode", "not a file's mode", '"0640"'),
    ("destinations = [{ path = '/a', mode = '0666' }]", "destinations[0].mode", "no mode for a file", '"0640"'),
    ("destinations = [{ path = '/a', mode = '0700' }]", "destinations[0].mode", "no mode for a file", '"0640"'),
    ("destinations = [{ path = '/a', mode = '0040' }]", "destinations[0].mode", "no mode for a file", '"0640"'),
    ("destinations = [{ path = '/a', via = 'none' }]", "destinations[0].via", '"none" is for a user', "user"),
    ("destinations = [{ user = 'a', via = 'docker' }]", "destinations[0].via", "is none of", '"docker-login"'),
    ("destinations = [{ user = 'a', region = 'x' }]", "destinations[0].region", "no setting here", "of registries"),
    (
        "registries = ['public.ecr.aws']\ndestinations = [{ user = 'a', registries = ['public.ecr.was'] }]",
        "destinations[0].registries",
        "is none of the registries",
        'did you mean "public.ecr.aws"?',
    ),
    (
        f"registries = [{{host = '{HOST_A}', name = 'x'}}]\ndestinations = [{{user = 'a', registries = ['{HOST_A}']}}]",
        "destinations[0].registries",
        "has a name",
        'write "x"',
    ),
    (
        "destinations = [{ user = 'a' }, { user = 'a', on_login = 'replace' }]",
        "destinations[1].on_login",
        "user:a is there twice, with another `on_login`",
        "one entry",
    ),
    (
        f"registries = ['self', {{ host = '{HOST_A}', name = 'self' }}]",
        "registries[1].name",
        "is the name of registries[0] already",
        "its own name",
    ),
]


@pytest.mark.parametrize(("text", "key", "message", "hint"), BAD, ids=[f"{row[1]}-{row[2][:25]}" for row in BAD])
def test_what_is_wrong_is_said_with_its_key_and_what_would_be_right(text, key, message, hint):
    found = problem(text)

    assert found.file == "config.toml"
    assert found.key == key
    assert message in found.message
    assert hint in found.hint


def test_all_that_is_wrong_is_said_in_one_go():
    texts = [
        row[0] for row in BAD if row[0].startswith("[") and row[0].count("\n") == 1 and "[registries]" not in row[0]
    ]
    contents = [Document(f"{number}.toml", tomllib.loads(text)) for number, text in enumerate(texts)]

    with pytest.raises(SettingsError) as caught:
        parse(contents, runs_as="root")

    assert {found.file for found in caught.value.problems} >= {document.file for document in contents} - {
        # `at` and `jitter` are compared only once each is right by itself.
        f"{texts.index('[renew]' + chr(10) + 'at = 0.05')}.toml"
    }


def test_an_entry_tells_everything_that_is_wrong_with_it():
    found = problems(f"registries = [{{ host = 'x', role = '{PULL}', duration = 1, also = ['fip'], images = [] }}]")

    assert {each.key for each in found} == {
        f"registries[0].{key}" for key in ("host", "role", "duration", "also", "images")
    }


def test_naming_an_entry_that_is_wrong_itself_is_no_further_mistake():
    found = problems(f"""
        registries = [{{ host = '{HOST_A}', name = 'x', role_arn = 'y' }}]
        destinations = [{{ user = 'a', registries = ['x'] }}]
    """)

    assert [each.key for each in found] == ["registries[0].role_arn"]


def test_of_a_file_that_could_not_be_read_nothing_is_guessed():
    unread = problem("log = 1")
    document = Document("x", tomllib.loads("destinations = [{ user = 'a', registries = ['elsewhere'] }]"))

    with pytest.raises(SettingsError) as caught:
        parse([document], runs_as="root", unread=[unread])

    assert caught.value.problems == (unread,)


# --- one host, two identities

FIPS_B = HOST_B.replace("ecr", "ecr-fips")
CENTRAL = "{ account = '210987654321', region = 'self'"
ALIAS = "{ host = 'a.example', account = 'self'"


@pytest.mark.parametrize(
    "entries",
    [
        f"'{HOST_B}', {{ host = '{HOST_B}', role_arn = '{PULL}' }}",
        f"'self', {{ account = 'self', region = 'self', role_arn = '{PULL}' }}",
        f"'self', {{ host = 'self', role_arn = '{PULL}' }}",
        f"{CENTRAL} }}, {CENTRAL}, role_arn = '{PULL}' }}",
        f"{{ host = '{HOST_B}', also = ['fips'] }}, {{ host = '{FIPS_B}', role_arn = '{PULL}' }}",
        f"{ALIAS}, region = 'eu-west-1' }}, {ALIAS}, region = 'eu-west-2' }}",
    ],
    ids=["host", "self", "self as host", "region self", "also", "alias of two registries"],
)
def test_two_identities_for_one_host_at_one_destination_are_a_mistake(entries):
    found = problem(f"registries = [{entries}]\ndestinations = [{{ user = 'a' }}, {{ user = 'b' }}]")

    assert found.key == "registries[1]"
    assert "is a second identity for" in found.message
    assert "at user:a, after registries[0]" in found.message
    assert "`name`" in found.hint


def test_one_host_with_two_identities_for_two_users_is_none():
    got = settings(f"""
        registries = ['{HOST_B}', {{ host = '{HOST_B}', name = 'push', role_arn = '{PUSH}' }}]
        destinations = [{{ user = 'a' }}, {{ user = 'b', registries = ['push'] }}]
    """)

    [pulling], [pushing] = (got.entries_for(destination) for destination in got.destinations)
    assert (pulling.identity, pushing.identity) == (HOST, Identity(roles=(PUSH,)))


def test_roots_answers_hold_every_unnamed_registry_besides_those_of_roots_destination():
    found = problem(f"""
        registries = ['{HOST_B}', {{ host = '{HOST_B}', name = 'push', role_arn = '{PUSH}' }}]
        destinations = [{{ user = 'root', registries = ['push'] }}, {{ user = 'a' }}]
    """)

    assert found.key == "registries[1]"
    assert "at the answers for root" in found.message


def test_one_entry_twice_is_one_login():
    assert (
        len(settings(f"registries = ['{HOST_A}', {{ host = '{HOST_A}' }}]", f"registries = ['{HOST_A}']").registries)
        == 1
    )


def test_self_clashes_as_soon_as_it_turns_out_to_be_a_host_with_another_identity():
    got = settings(f"registries = ['self', {{ host = '{HOST_B}', role_arn = '{PULL}' }}]")

    assert list(clashes(got, None)) == []
    assert list(clashes(got, Instance("210987654321", "eu-west-1", "i-1"))) == []
    [clash] = clashes(got, Instance("210987654321", "us-east-1", "i-1"))
    assert (clash.place, clash.host, clash.first.name, clash.second.name) == ("user:root", HOST_B, "self", HOST_B)


def test_two_entries_for_one_users_file_become_one():
    got = settings("""
        registries = ['self', { host = 'public.ecr.aws', name = 'public' }]
        destinations = [{ user = 'a' }, { user = 'a', registries = ['public'] }, { path = '/a/b' }, { path = '/a/b' }]
    """)

    assert got.destinations == (Destination(user="a", registries=("self", "public")), Destination(path="/a/b"))


def test_the_profile_of_aws_is_every_registrys_that_has_none_of_its_own():
    got = settings(f"registries = ['self', {{ host = '{HOST_A}', profile = 'x' }}]", "[aws]\nprofile = 'ci'")

    assert [entry.identity.profile for entry in got.registries] == ["ci", "x"]
    assert settings("[aws]\nprofile = 'ci'").registries[0].identity.profile == "ci"


# --- what may be odd and is right


@pytest.mark.parametrize(
    "name", ["root", "gitlab-runner", "_apt", "ec2-user", "first.last", "DOM\\user", "me@corp.example", "host$", "a1"]
)
def test_users_may_be_called_what_directories_call_them(name):
    assert settings(f"destinations = [{{ user = '{name}' }}]").destinations == (Destination(user=name),)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::123456789012:role/a",
        "arn:aws-cn:iam::012345678901:role/service-role/deep/er/name+=,.@-_",
        "arn:aws-us-gov:iam::123456789012:role/x",
        "arn:aws-iso-f:iam::123456789012:role/x",
        "arn:aws-eusc:iam::123456789012:role/x",
    ],
)
def test_a_role_may_lie_in_any_partition_and_under_any_path(arn):
    assert settings(f"registries = [{{ host = 'self', role_arn = '{arn}' }}]").registries[0].identity.roles == (arn,)


@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("ecr", "http://127.0.0.1:5000"),
        ("sts", "http://localhost:1"),
        ("registry", "http://[::1]:8/x"),
        ("imds", "http://[fd00:ec2::254]"),
        ("ecr-public", "https://10.1.2.3:8443/path"),
    ],
)
def test_only_what_stays_on_this_host_may_be_unencrypted(key, url):
    assert settings(f"[aws.endpoints]\n{key} = '{url}'").aws.endpoints == {key: url}


# --- secrets


@pytest.mark.parametrize(
    "text",
    [
        "[aws]\nproxy = 'http://u:hunter2@'",
        "[aws]\nproxy = 'http://u:hunter2@x/path'",
        "[aws]\nproxy = 'htp://u:hunter2@x'",
        "[aws]\nproxy = ['http://u:hunter2@x']",
        "[aws.endpoints]\nsts = 'https://u:hunter2@x'",
        "[aws.endpoints]\nsts = 'http://u:hunter2@x?'",
        "registries = ['https://AWS:hunter2@public.ecr.aws']",
        "destinations = 'https://AWS:hunter2@public.ecr.aws'",
        "destinations = ['https://AWS:hunter2@public.ecr.aws']",
        "[boot]\ntimeout = 'https://AWS:hunter2@public.ecr.aws'",
    ],
)
def test_no_message_tells_the_password_of_a_url(text):
    assert "hunter2" not in str(SettingsError(problems(text)))


def test_what_a_traceback_shows_of_the_settings_lacks_the_proxy():
    assert "secret" not in repr(settings(EVERYTHING))


# --- durations


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("20s", timedelta(seconds=20)),
        ("1min", timedelta(minutes=1)),
        ("12h", timedelta(hours=12)),
        ("1h 30min", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5 h", timedelta(minutes=90)),
        (" 500ms ", timedelta(milliseconds=500)),
        ("0s", timedelta(0)),
        ("1d", timedelta(days=1)),
    ],
)
def test_a_duration_is_read_as_systemd_reads_it(text, span):
    assert parse_duration(text) == span


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=366)))
def test_a_duration_written_is_read_as_the_same(span):
    assert parse_duration(format_duration(span)) == span


@pytest.mark.parametrize("text", ["", " ", "s", "1", "1.s", "1 2s", "1s,", "1M", "\uff11s", "1e3s", "1\ns", "." * 99])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError):
        parse_duration(text)


# --- fuzz

_WORDS = st.sampled_from(
    [
        "self", HOST_A, HOST_B, "public.ecr.aws", "a.example", "root", "1h", "1s", "0640", "/a/b", "pull", "fips", PULL,
        "file", "helper", "http://127.0.0.1:1", "http://u:p@x", "123456789012", "eu-west-1", "base:1", "journal", "all",
    ]
)  # fmt: skip
_KEYS = st.sampled_from(
    sorted({*SECTIONS, *REGISTRY_KEYS, *DESTINATION_KEYS, "registries", "destinations", "endpoints", "log", "aws"})
)
_SCALARS = (
    _WORDS
    | st.text(max_size=8)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.sampled_from([10**30, -(10**30), datetime(2026, 1, 1), "\x00", "\ud800", "x" * 10_000])  # noqa: DTZ001  # TOML has such
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(_KEYS | st.text(max_size=5), _VALUES, max_size=5), max_size=3))
def test_whatever_toml_can_hold_becomes_settings_or_problems_of_one_printable_line_each(contents):
    found = []
    try:
        got = parse([Document(f"{number}.toml", each) for number, each in enumerate(contents)], runs_as="root")
    except SettingsError as error:
        found = error.problems
    else:
        assert got.registries
        assert got.destinations

    for each in found:
        for line in (each.file, each.key, each.message, each.hint):
            assert line.isascii()
            assert line.isprintable()
        assert each.message
        assert each.hint


@pytest.mark.parametrize("number", [10**5000, -(10**5000)], ids=["plus", "minus"])
@pytest.mark.parametrize("section", SECTIONS)
def test_a_number_too_long_to_be_written_is_refused_like_any_other(number, section):
    # TOML has hexadecimal numbers of any length, and Python refuses to make a text of them.
    content = dict.fromkeys(SECTIONS[section], number)
    for part in reversed(section.split(".") if section else []):
        content = {part: content}

    with pytest.raises(SettingsError) as caught:
        parse([Document("x", content)], runs_as="root")

    assert len(caught.value.problems) == len(SECTIONS[section])


@given(st.data())
def test_a_key_with_one_letter_wrong_is_recognised(data):
    section = data.draw(st.sampled_from(sorted(name for name in SECTIONS if name)))
    key = data.draw(st.sampled_from(sorted(key for key in SECTIONS[section] if len(key) > 4)))
    at = data.draw(st.integers(0, len(key) - 1))
    content = {key[:at] + key[at + 1 :]: "x"}
    for part in reversed(section.split(".")):
        content = {part: content}

    with pytest.raises(SettingsError) as caught:
        parse([Document("x", content)], runs_as="root")

    assert caught.value.problems[0].hint == f"did you mean {key}?"
