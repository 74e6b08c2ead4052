"""The settings written back as TOML: what is fed back is what was in effect."""

import tomllib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrlogind.core.duration import format_duration
from ecrlogind.core.grammar import Document, parse
from ecrlogind.core.registry import PARTITIONS, Registry
from ecrlogind.core.render import digest, to_toml
from ecrlogind.core.settings import SettingsError


def settings(content):
    return parse([Document("config.toml", content)], runs_as="runner")


def read_back(text):
    return settings(tomllib.loads(text))


def keys(**optional):
    """Make tables in which each key may be missing."""
    return st.fixed_dictionaries({}, optional=optional)


def spans(low, high):
    return st.timedeltas(timedelta(seconds=low), timedelta(seconds=high)).map(format_duration)


accounts = st.text("0123456789", min_size=12, max_size=12)
regions = st.sampled_from(["eu-west-1", "us-east-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"])
hosts = st.builds(
    lambda *parts: Registry(*parts).host, accounts, regions, st.booleans(), st.booleans()
) | st.sampled_from(["public.ecr.aws", "ecr-public.aws.com", "self"])
names = st.text("abcdefghij\u00e9\"'\\ .-", min_size=1, max_size=8)
paths = st.lists(
    st.text("ab c\u00e9\"'\\{}=#.", min_size=1, max_size=5).filter(lambda p: p not in (".", "..")), min_size=1
).map(lambda parts: "/" + "/".join(parts))
roles = st.builds(
    "arn:{}:iam::{}:role/{}".format,
    st.sampled_from([partition.name for partition in PARTITIONS]),
    accounts,
    st.text("ab/-_=", min_size=1, max_size=9).map(lambda path: f"{path}x"),
)
more = keys(
    name=names,
    profile=names,
    images=st.lists(st.sampled_from(["base:latest", "a/b/c:1.2", "a@sha256:" + "0" * 64]), min_size=1),
    also=st.lists(st.just("dual-stack"), min_size=1),
)
role = st.just({}) | st.builds(
    dict.__or__,
    st.fixed_dictionaries({"role_arn": roles | st.lists(roles, min_size=1, max_size=3)}),
    keys(
        external_id=st.text("ab:/-@", min_size=2, max_size=9),
        session_name=st.text("ab=,.@-", min_size=2, max_size=9),
        duration=spans(900, 3600),
        scope=st.just("pull"),
    ),
)
spots = (
    hosts.map(lambda host: {"host": host})
    | st.fixed_dictionaries({"account": accounts | st.just("self"), "region": regions | st.just("self")})
    | st.fixed_dictionaries(
        {
            "host": st.sampled_from(["ecr.example.com", "vpce-0.dkr.ecr.eu-west-1.vpce.amazonaws.com"]),
            "account": accounts | st.just("self"),
            "region": regions | st.just("self"),
        }
    )
)
registries = hosts | st.builds(lambda *parts: parts[0] | parts[1] | parts[2], spots, more, role)
users = st.text("abcdef", min_size=1, max_size=6)
ways = keys(
    via=st.sampled_from(["file", "helper"]),
    on_shadow=st.sampled_from(["report", "fix"]),
    on_login=st.sampled_from(["keep", "replace"]),
    mode=st.sampled_from(["0600", "640", "0644", "0660"]),
)
destinations = st.builds(
    dict.__or__,
    ways,
    users.map(lambda user: {"user": user})
    | st.builds(dict.__or__, paths.map(lambda path: {"path": path}), keys(owner=users, group=users)),
)
contents = keys(
    registries=st.lists(registries, min_size=1, max_size=5),
    destinations=st.lists(destinations, min_size=1, max_size=4),
    log=st.sampled_from(["journal", "stderr"]),
    boot=keys(ready=st.sampled_from(["all", "settled", "immediately"]), timeout=spans(1, 86400)),
    renew=keys(at=st.floats(0.2, 0.99), jitter=st.floats(0, 0.19), floor=spans(1, 60)),
    aws=keys(
        profile=names,
        config_file=paths,
        credentials_file=paths,
        ca_bundle=paths,
        proxy=st.sampled_from(["http://proxy.example:3128", "https://10.0.0.1/"]),
        deadline=spans(1, 60),
        imds=st.sampled_from(["ipv4", "ipv6"]),
        use_fips=st.booleans(),
        use_dualstack=st.booleans(),
        endpoints=st.dictionaries(
            st.sampled_from(["ecr", "ecr-public", "sts", "imds", "registry"]),
            st.sampled_from(["https://a.example", "http://127.0.0.1:1/x"]),
        ),
    ),
    check=keys(registry=st.booleans(), every=spans(1, 86400)),
    metrics=keys(textfile=paths.map(lambda path: f"{path}.prom")),
    stop=keys(logout=st.booleans()),
)


def usable(content):
    """Make settings of what is right piece by piece; None where pieces clash or roles are too many for one name."""
    try:
        return settings(content)
    except SettingsError:
        return None


@given(contents.map(usable).filter(lambda got: got is not None))
def test_reading_what_was_written_gives_the_same_settings(got):
    assert read_back(to_toml(got)) == got


@given(contents.map(usable).filter(lambda got: got is not None))
def test_writing_what_was_read_gives_the_same_text(got):
    assert to_toml(read_back(to_toml(got))) == to_toml(got)


@pytest.mark.parametrize("names", [None, ["self"], ["push", "public.ecr.aws"]])
def test_a_destinations_registries_are_kept(names):
    content = {
        "registries": [
            "self",
            "public.ecr.aws",
            {"host": "self", "name": "push", "role_arn": "arn:aws:iam::123456789012:role/x"},
        ],
        "destinations": [{"user": "ci", **({"registries": names} if names else {})}],
    }

    assert read_back(to_toml(settings(content))) == settings(content)


def test_a_host_alone_is_written_as_a_host_alone():
    host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"

    written = tomllib.loads(
        to_toml(settings({"registries": ["self", {"account": "123456789012", "region": "eu-west-1"}]}))
    )

    assert written["registries"] == ["self", host]


def test_defaults_are_written_out():
    written = tomllib.loads(to_toml(settings({})))

    assert written["registries"] == ["self"]
    assert written["destinations"][0]["user"] == "runner"
    assert written["boot"] == {"ready": "settled", "timeout": "1min"}
    assert written["renew"] == {"at": 0.5, "jitter": 0.1, "floor": "1min"}
    assert written["aws"]["deadline"] == "20s"
    assert written["check"] == {"registry": True, "every": "1h"}
    assert written["stop"] == {"logout": False}


def test_the_proxys_password_is_not_written_and_what_is_written_can_still_be_fed_back():
    got = settings({"aws": {"proxy": "http://us:hunter2@proxy.example:3128"}})

    assert "hunter2" not in to_toml(got)
    assert read_back(to_toml(got)).aws.proxy == "http://us:***@proxy.example:3128"


def test_the_digest_tells_settings_apart_even_by_a_password():
    one, other = ({"aws": {"proxy": f"http://us:{password}@proxy.example"}} for password in ("hunter2", "hunter3"))

    assert digest(settings(one)) == digest(settings(one))
    assert digest(settings(one)) != digest(settings(other))


def test_the_digest_does_not_depend_on_the_order_of_single_keys():
    one = settings({"aws": {"endpoints": {"ecr": "https://a.example", "sts": "https://b.example"}}})
    other = settings({"aws": {"endpoints": {"sts": "https://b.example", "ecr": "https://a.example"}}})

    assert digest(one) == digest(other)
