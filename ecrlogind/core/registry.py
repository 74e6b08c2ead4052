"""ECR registries: from a host name to what AWS must be asked for it, and back.

A host name has four spellings per partition (plain, FIPS, dual-stack, both), and ECR Public has two:

>>> Registry.parse("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com").fips
True
>>> Registry(account="012345678901", region="cn-north-1", dual_stack=True).host
'012345678901.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn'
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from ecrlogind.core.mistake import Mistake, nearest, quote


@dataclass(frozen=True, slots=True)
class Partition:
    """One of AWS's separate worlds: its regions, and the ends of its registries' host names."""

    name: str
    regions: str
    suffix: str
    dual_stack_suffix: str


# Names, regions and plain suffixes are those of botocore's partitions.json (a test compares them). botocore lacks the
# registries' dual-stack suffixes: aws is from ECR's user guide (ecr-requests), aws-cn from
# kubernetes/cloud-provider-aws, the rest from amazon-ecs-agent (ecs-agent/utils/uri/uri.go); aws-eusc really has no
# "on." there.
PARTITIONS = (
    Partition("aws", r"(?:us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-\d{1,2}", "amazonaws.com", "on.aws"),
    Partition("aws-cn", r"cn-[a-z]+-\d{1,2}", "amazonaws.com.cn", "on.amazonwebservices.com.cn"),
    Partition("aws-us-gov", r"us-gov-[a-z]+-\d{1,2}", "amazonaws.com", "on.aws"),
    Partition("aws-iso", r"us-iso-[a-z]+-\d{1,2}", "c2s.ic.gov", "on.aws.ic.gov"),
    Partition("aws-iso-b", r"us-isob-[a-z]+-\d{1,2}", "sc2s.sgov.gov", "on.aws.scloud"),
    Partition("aws-iso-e", r"eu-isoe-[a-z]+-\d{1,2}", "cloud.adc-e.uk", "on.cloud-aws.adc-e.uk"),
    Partition("aws-iso-f", r"us-isof-[a-z]+-\d{1,2}", "csp.hci.ic.gov", "on.aws.hci.ic.gov"),
    Partition("aws-eusc", r"eusc-de-[a-z]+-\d{1,2}", "amazonaws.eu", "amazonwebservices.eu"),
)

PUBLIC_HOST = "public.ecr.aws"
PUBLIC_DUAL_STACK_HOST = "ecr-public.aws.com"
# ECR Public's API stands in us-east-1 and us-west-2; AWS says to authenticate with the former.
PUBLIC_REGION = "us-east-1"

_ACCOUNT = re.compile(r"[0-9]{12}")
_HOST = re.compile(
    r"(?P<account>[0-9]{12})\.dkr(?P<joint>[.-])ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<suffix>.+)"
)
_DNS_NAME = re.compile(r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


@lru_cache(maxsize=256)
def partition_of(region: str) -> Partition:
    """Return the partition that *region* lies in; raise Mistake if no partition has such regions."""
    for partition in PARTITIONS:
        if re.fullmatch(partition.regions, region, re.ASCII):
            return partition
    raise Mistake(f"{quote(region)} is not an AWS region", "those are called like eu-west-1 or us-gov-east-1")


def is_host_name(name: str) -> bool:
    """Whether *name* is a bare DNS name, in lower case, of more than one label."""
    return _DNS_NAME.fullmatch(name) is not None


def check_account(account: str) -> str:
    """Return *account* if it is an account id (twelve digits, leading zeros count); raise Mistake if not."""
    if not _ACCOUNT.fullmatch(account):
        raise Mistake(f"{quote(account)} is not an AWS account id", "those have twelve digits, leading zeros counted")
    return account


@dataclass(frozen=True, order=True, slots=True)
class Registry:
    """One ECR registry, known by its host name.

    *account* is None for ECR Public. *region* is where AWS is asked for its credential. *alias* is a host name of
    somebody else's making (PrivateLink, an own DNS name) under which the registry is reached.
    """

    account: str | None
    region: str
    fips: bool = False
    dual_stack: bool = False
    alias: str | None = None

    def __post_init__(self) -> None:
        partition_of(self.region)
        if self.account is None:
            if self.fips:
                raise Mistake("ECR Public has no FIPS registry", f"use {PUBLIC_HOST}")
        else:
            check_account(self.account)
        if self.alias is not None:
            if not is_host_name(self.alias):
                raise Mistake(
                    f"{quote(self.alias)} is not a host name",
                    "write a bare DNS name in lower case, like ecr.example.com",
                )
            if _is_ecr_like(self.alias):
                raise Mistake(
                    f"{self.alias} says account and region itself", "write `host` alone, without `account` and `region`"
                )

    @classmethod
    def parse(cls, host: str) -> Registry:
        """Read a registry's host name; raise ValueError, saying what would be right, if it is none."""
        if host == PUBLIC_HOST:
            return cls(None, PUBLIC_REGION)
        if host == PUBLIC_DUAL_STACK_HOST:
            return cls(None, PUBLIC_REGION, dual_stack=True)
        found = _HOST.fullmatch(host)
        if not found:
            raise Mistake(f"{quote(host)} is not an ECR registry", _what_instead(host))
        registry = cls(
            found["account"], found["region"], fips=found["fips"] is not None, dual_stack=found["joint"] == "-"
        )
        if registry.host != host:
            raise Mistake(f"{quote(host)} is not an ECR registry", f"in {registry.region} it would be {registry.host}")
        return registry

    @classmethod
    def find(cls, host: str) -> Registry | None:
        """Read a registry's host name; return None if it is none."""
        with suppress(Mistake):
            return cls.parse(host)
        return None

    @property
    def public(self) -> bool:
        """Whether this is ECR Public, which has an API of its own."""
        return self.account is None

    @property
    def partition(self) -> Partition:
        """The partition that the registry lies in."""
        return partition_of(self.region)

    @property
    def host(self) -> str:
        """The name that Docker knows the registry by."""
        if self.alias is not None:
            return self.alias
        if self.account is None:
            return PUBLIC_DUAL_STACK_HOST if self.dual_stack else PUBLIC_HOST
        fips = "-fips" if self.fips else ""
        if self.dual_stack:
            return f"{self.account}.dkr-ecr{fips}.{self.region}.{self.partition.dual_stack_suffix}"
        return f"{self.account}.dkr.ecr{fips}.{self.region}.{self.partition.suffix}"


def _is_ecr_like(host: str) -> bool:
    return host in (PUBLIC_HOST, PUBLIC_DUAL_STACK_HOST) or _HOST.fullmatch(host) is not None


def _what_instead(host: str) -> str:
    """Return what to write instead of *host*, as far as one can tell."""
    bare = (
        re.sub(r"^\s*(?:https?://)?(?:[^/@]*@)?", "", host.lower()).split("/")[0].partition(":")[0].strip().rstrip(".")
    )
    if bare != host and Registry.find(bare):
        return f"write the bare host name: {bare}"
    if public := nearest(bare, (PUBLIC_HOST, PUBLIC_DUAL_STACK_HOST)):
        return f"did you mean {public}?"
    if meant := _account_and_region(bare):
        return f"did you mean {meant.host}?"
    account = bare.partition(".")[0]
    if account.isdigit() and not _ACCOUNT.fullmatch(account):
        return f"account ids have twelve digits, leading zeros counted, and this one {len(account)}"
    return f"those are called 123456789012.dkr.ecr.eu-west-1.amazonaws.com, or {PUBLIC_HOST}"


def _account_and_region(host: str) -> Registry | None:
    """Return the registry whose account and region *host* names, however it puts them."""
    labels = re.split(r"[._]", host)
    accounts = [label for label in labels if _ACCOUNT.fullmatch(label)]
    regions = [label for label in labels if any(re.fullmatch(p.regions, label, re.ASCII) for p in PARTITIONS)]
    if len(accounts) != 1 or len(regions) != 1:
        return None
    return Registry(accounts[0], regions[0], fips="-fips" in host, dual_stack="dkr-ecr" in host)
