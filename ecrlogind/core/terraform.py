"""The policies as Terraform. JSON is a part of its language, so a policy goes into `jsonencode` as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

# What `policy.policies` is told for the instance's role: Terraform looks its ARN up.
PRINCIPAL = "${data.aws_iam_role.instance.arn}"

_HEAD = """\
# From `ecrlogind policy --terraform`. Each account's resources want a provider of that account.

variable "instance_role" {
  description = "The name of the role in the instances' profile."
  type        = string
}

data "aws_iam_role" "instance" {
  name = var.instance_role
}
"""

_ROLE = re.compile(r"arn:[^:]+:iam::(?P<account>[0-9]{12}):role(?P<path>/(?:.*/)?)(?P<name>[^/]+)")
_REPOSITORY = re.compile(r"arn:[^:]+:ecr:(?P<region>[^:]+):(?P<account>[^:]+):repository/(?P<name>.+)")


def terraform(found: Mapping[str, Any]) -> str:
    """Write what `policy.policies` found, with PRINCIPAL as the principal."""
    blocks = [_HEAD]
    if found["instance_role"] is not None:
        blocks.append(
            _block(
                "aws_iam_role_policy", "instance", _policy("data.aws_iam_role.instance.name", found["instance_role"])
            )
        )
    for who, policy in found["roles"].items():
        blocks += _role(who, policy, found["trust"].get(who))
    for arn, policy in found["repository"].items():
        blocks += _repository(arn, policy)
    return "\n".join(blocks)


def _role(who: str, policy: Mapping[str, Any], trust: Mapping[str, Any] | None) -> Iterator[str]:
    role = _ROLE.fullmatch(who)
    if role is None:
        lines = [f"name   = {json.dumps('ecrlogind-' + _slug(who))}", f"policy = {_encoded(policy)}"]
        yield f"# Attach it to whoever signs under {who}.\n" + _block("aws_iam_policy", _slug(who), lines)
        return
    name = _slug(f"{role['account']}{role['path']}{role['name']}")
    lines = [
        f"name               = {json.dumps(role['name'])}",
        f"path               = {json.dumps(role['path'])}",
        f"assume_role_policy = {_encoded(trust)}",
    ]
    yield f"# In account {role['account']}.\n" + _block("aws_iam_role", name, lines)
    yield _block("aws_iam_role_policy", name, _policy(f"aws_iam_role.{name}.name", policy))


def _repository(arn: str, policy: Mapping[str, Any]) -> Iterator[str]:
    place = _REPOSITORY.fullmatch(arn)
    if place is None:
        raise AssertionError("the ARN of a repository, as `policy` writes it")
    name = _slug(f"{place['account']}_{place['region']}_{place['name']}")
    where = f"# In account {place['account']}, region {place['region']}.\n"
    if place["name"] != "*":
        lines = [f"repository = {json.dumps(place['name'])}", f"policy     = {_encoded(policy)}"]
        yield where + _block("aws_ecr_repository_policy", name, lines)
        return
    lines = ['description = "The repositories that are used."', "type        = set(string)"]
    yield where + _block(f"repositories{name}", None, lines)
    lines = [
        f"for_each   = var.repositories{name}",
        "repository = each.value",
        f"policy     = {_encoded(policy)}",
    ]
    yield _block("aws_ecr_repository_policy", name, lines)


def _policy(role: str, policy: Mapping[str, Any]) -> list[str]:
    return ['name   = "ecrlogind"', f"role   = {role}", f"policy = {_encoded(policy)}"]


def _block(kind: str, name: str | None, lines: list[str]) -> str:
    """Write a resource; without a *name* the variable called *kind*."""
    head = f'variable "{kind}"' if name is None else f'resource "{kind}" "{name}"'
    inner = "\n".join(f"  {line}" for line in "\n".join(lines).splitlines())
    return f"{head} {{\n{inner}\n}}\n"


def _encoded(policy: Any) -> str:
    return f"jsonencode({json.dumps(policy, indent=2)})"


def _slug(text: str) -> str:
    """Return *text* as a name that Terraform takes: it must not begin with a digit."""
    return "_" + re.sub(r"[^a-z0-9]+", "_", text.replace("*", "all").lower()).strip("_")
