"""Host names of registries, both ways, in every partition and form."""

import json
import re
from functools import cache
from importlib.resources import files
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecrlogind.core.registry import (
    PARTITIONS,
    PUBLIC_DUAL_STACK_HOST,
    PUBLIC_HOST,
    PUBLIC_REGION,
    Registry,
    check_account,
    partition_of,
)


@cache
def botocores(name):
    return json.loads(files("botocore").joinpath("data", f"{name}.json").read_text())["partitions"]


# Pseudo-regions for services that have none are no regions.
REGIONS = sorted(
    {
        (partition.get("id") or partition["partition"], region)
        for partition in botocores("partitions") + botocores("endpoints")
        for region in partition["regions"]
        if not region.endswith("-global")
    }
)

accounts = st.text("0123456789", min_size=12, max_size=12)
regions = st.sampled_from([region for _, region in REGIONS])
private = st.builds(Registry, accounts, regions, st.booleans(), st.booleans())
public = st.sampled_from([Registry(None, PUBLIC_REGION), Registry(None, PUBLIC_REGION, dual_stack=True)])
registries = private | public


@given(registries)
def test_reading_a_name_written_gives_the_same_registry(registry):
    assert Registry.parse(registry.host) == registry


@pytest.mark.parametrize(("partition", "region"), REGIONS)
def test_every_real_region_has_its_registries(partition, region):
    for fips, dual_stack in product((False, True), repeat=2):
        registry = Registry("012345678901", region, fips, dual_stack)

        assert registry.partition.name == partition
        assert Registry.parse(registry.host) == registry


def test_the_partitions_are_botocores():
    theirs = {
        partition["id"]: (partition["outputs"]["dnsSuffix"], partition["regionRegex"].replace("\\-", "-"))
        for partition in botocores("partitions")
    }

    assert {partition.name: partition.suffix for partition in PARTITIONS} == {
        name: suffix for name, (suffix, _) in theirs.items()
    }
    for partition in PARTITIONS:
        # Ours are the same patterns, with letters only and short numbers where theirs take any word.
        ours = partition.regions.replace("[a-z]+", r"\w+").replace(r"\d{1,2}", r"\d+")
        assert re.sub(r"[?:()^$]", "", theirs[partition.name][1]) == re.sub(r"[?:()]", "", ours)


# The forms as ECR's user guide, kubernetes/cloud-provider-aws and amazon-ecs-agent give them.
KNOWN = {
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com": Registry("123456789012", "eu-west-1"),
    "012345678901.dkr.ecr-fips.us-east-1.amazonaws.com": Registry("012345678901", "us-east-1", fips=True),
    "123456789012.dkr-ecr.us-east-2.on.aws": Registry("123456789012", "us-east-2", dual_stack=True),
    "123456789012.dkr-ecr-fips.us-east-2.on.aws": Registry("123456789012", "us-east-2", fips=True, dual_stack=True),
    "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn": Registry("123456789012", "cn-north-1"),
    "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn": Registry(
        "123456789012", "cn-north-1", dual_stack=True
    ),
    "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com": Registry("123456789012", "us-gov-west-1"),
    "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov": Registry("123456789012", "us-iso-east-1"),
    "123456789012.dkr-ecr.us-iso-east-1.on.aws.ic.gov": Registry("123456789012", "us-iso-east-1", dual_stack=True),
    "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov": Registry("123456789012", "us-isob-east-1"),
    "123456789012.dkr-ecr.us-isob-east-1.on.aws.scloud": Registry("123456789012", "us-isob-east-1", dual_stack=True),
    "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk": Registry("123456789012", "eu-isoe-west-1"),
    "123456789012.dkr-ecr.eu-isoe-west-1.on.cloud-aws.adc-e.uk": Registry(
        "123456789012", "eu-isoe-west-1", dual_stack=True
    ),
    "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov": Registry("123456789012", "us-isof-south-1"),
    "123456789012.dkr-ecr.us-isof-south-1.on.aws.hci.ic.gov": Registry(
        "123456789012", "us-isof-south-1", dual_stack=True
    ),
    "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu": Registry("123456789012", "eusc-de-east-1"),
    "123456789012.dkr-ecr.eusc-de-east-1.amazonwebservices.eu": Registry(
        "123456789012", "eusc-de-east-1", dual_stack=True
    ),
    "public.ecr.aws": Registry(None, "us-east-1"),
    "ecr-public.aws.com": Registry(None, "us-east-1", dual_stack=True),
}


@pytest.mark.parametrize(("host", "registry"), KNOWN.items(), ids=KNOWN)
def test_each_form_is_read_as_what_it_is(host, registry):
    assert Registry.parse(host) == registry
    assert registry.host == host
    assert registry.public == (registry.account is None)


def is_registry(text):
    """Tell what a registry is by other means than the code's: botocore's regions, put together by hand."""
    for partition in PARTITIONS:
        [theirs] = (each["regionRegex"].strip("^$") for each in botocores("partitions") if each["id"] == partition.name)
        plain = rf"[0-9]{{12}}\.dkr\.ecr(-fips)?\.{theirs}\.{re.escape(partition.suffix)}"
        dual_stack = rf"[0-9]{{12}}\.dkr-ecr(-fips)?\.{theirs}\.{re.escape(partition.dual_stack_suffix)}"
        if re.fullmatch(f"{plain}|{dual_stack}", text, re.ASCII):
            return True
    return text in (PUBLIC_HOST, PUBLIC_DUAL_STACK_HOST)


@st.composite
def mutated(draw):
    text = draw(registries).host
    for _ in range(draw(st.integers(1, 3))):
        at, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        end = min(end, at + draw(st.sampled_from([0, 1, 1, 2, 40])))
        text = text[:at] + draw(st.text("0a.-_:/@ \nA\u0661\u0131\u212a", max_size=2)) + text[end:]
    return text


@given(mutated() | st.text(max_size=80))
@example("123456789012.dkr.ecr.eu-west-1.amazonaws.com\n")
@example("\u0661" * 12 + ".dkr.ecr.eu-west-1.amazonaws.com")
@example("123456789012.dkr.ecr.eu-west-1.amazonaws.com.")
@example("123456789012.dkr.ecr.EU-WEST-1.amazonaws.com")
def test_nothing_is_accepted_that_is_no_registry(text):
    try:
        registry = Registry.parse(text)
    except ValueError as error:
        said = str(error)
    else:
        said = registry.host
        assert registry.host == text
        assert is_registry(text)

    assert said.isascii()
    assert said.isprintable()


@given(accounts)
def test_leading_zeros_count(account):
    assert check_account(account) == account
    assert Registry(account, "eu-west-1").host.startswith(f"{account}.")


@pytest.mark.parametrize(
    "account", ["", "1", "12345678901", "1234567890123", "12345678901a", "\u0661" * 12, "1" * 12 + "\n"]
)
def test_what_is_no_account_is_refused(account):
    with pytest.raises(ValueError, match="twelve digits"):
        check_account(account)


@pytest.mark.parametrize(
    "region",
    ["", "eu", "eu-west", "eu-west-1a", "EU-WEST-1", "eu-west-1\n", "xx-west-1", "aws-global", "eu-west-\u0661"],
)
def test_what_is_no_region_is_refused(region):
    with pytest.raises(ValueError, match=r"is not an AWS region.*like eu-west-1"):
        partition_of(region)


# What is mixed up, and what to write instead.
MIXED = {
    "123456789012.dkr.ecr.cn-north-1.amazonaws.com": "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
    "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com.cn": "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
    "123456789012.dkr-ecr.eu-west-1.amazonaws.com": "123456789012.dkr-ecr.eu-west-1.on.aws",
    "123456789012.dkr.ecr.eu-west-1.on.aws": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "123456789012.dkr-ecr.eusc-de-east-1.on.aws": "123456789012.dkr-ecr.eusc-de-east-1.amazonwebservices.eu",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.eu": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "123456789012.ecr.eu-west-1.amazonaws.com": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "api.ecr.eu-west-1.amazonaws.com": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/base:1": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "123456789012.DKR.ECR.eu-west-1.amazonaws.com": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "public.ecr.aws/docker/library": "public.ecr.aws",
    "public.ecr.aws.com": "public.ecr.aws",
    "12345678901.dkr.ecr.eu-west-1.amazonaws.com": "twelve digits, leading zeros counted, and this one 11",
    "123456789012.dkr.ecr.eu-west.amazonaws.com": "like eu-west-1",
    "docker.io": "123456789012.dkr.ecr.eu-west-1.amazonaws.com, or public.ecr.aws",
}


@pytest.mark.parametrize(("host", "right"), MIXED.items(), ids=MIXED)
def test_a_mix_that_cannot_be_says_what_would_be_right(host, right):
    with pytest.raises(ValueError) as caught:
        Registry.parse(host)

    assert right in caught.value.hint


def test_ecr_public_has_no_fips_registry():
    with pytest.raises(ValueError, match=r"ECR Public has no FIPS registry.*public\.ecr\.aws"):
        Registry(None, PUBLIC_REGION, fips=True)


@pytest.mark.parametrize("alias", ["ecr.example.com", "vpce-0123.dkr.ecr.eu-west-1.vpce.amazonaws.com", "a-b.c1"])
def test_an_alias_is_the_name_that_the_registry_goes_by(alias):
    assert Registry("123456789012", "eu-west-1", alias=alias).host == alias


@pytest.mark.parametrize(
    "alias",
    [
        "",
        "a",
        "A.b",
        "a..b",
        ".a.b",
        "a.b.",
        "-a.b",
        "a.b:443",
        "a/b.c",
        "a.1",
        "10.0.0.1",
        "a.b\n",
        "\u00e9.b",
        "a" * 64 + ".b",
        "a." * 127 + "b",
    ],
)
def test_an_alias_is_a_bare_dns_name(alias):
    with pytest.raises(ValueError, match="is not a host name"):
        Registry("123456789012", "eu-west-1", alias=alias)


@pytest.mark.parametrize("alias", [PUBLIC_HOST, "123456789012.dkr.ecr.eu-west-1.amazonaws.com"])
def test_a_registrys_own_name_is_no_alias(alias):
    with pytest.raises(ValueError, match="write `host` alone"):
        Registry("123456789012", "eu-west-1", alias=alias)


def test_a_password_in_what_should_be_a_host_is_not_repeated():
    with pytest.raises(ValueError) as caught:
        Registry.parse("https://AWS:hunter2@123456789012.dkr.ecr.eu-west-1.amazonaws.com")

    assert "hunter2" not in str(caught.value)
