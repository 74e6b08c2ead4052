"""What the registry answered to a credential that it takes, or why it did not answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ecrlogind.core.refusal import Code
from ecrlogind.core.wire import Refusal
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding
from ecrlogind.doctor.image import Image

_ROLE = re.compile(r"User: (?P<who>arn:\S+) is not authorized to perform: (?P<action>[a-z0-9-]+:[A-Za-z]+)")
_CACHES = (
    "docker-hub/",
    "dockerhub/",
    "ecr-public/",
    "quay/",
    "quay.io/",
    "github/",
    "ghcr/",
    "ghcr.io/",
    "k8s/",
    "kubernetes/",
)


def check(evidence: Evidence) -> Iterator[Finding]:
    """Read every answer."""
    image = evidence.image
    if image is None:
        return
    for asked in evidence.asked:
        if asked.refusal is not None and asked.refusal.code != Code.INVALID_KEYS and not asked.reached_here:
            yield _of(asked.refusal, image)
        elif asked.no_layers is not None:
            yield Finding(
                "layers_unreachable",
                f"the manifest is there, its layers are not: {asked.no_layers.message}",
                "layers come from S3: the pull starts, then hangs or ends in a timeout",
                "give the VPC a gateway endpoint for S3, or let dockerd's proxy settings cover *.s3.*.amazonaws.com",
            )


def _of(refusal: Refusal, image: Image) -> Finding:
    said, repository, host = refusal.message, image.repository, image.host
    match refusal.code:
        case Code.PULL_DENIED:
            return _denied(said, host, repository)
        case Code.SERVICE_ERROR if "NAME_UNKNOWN" in said or "MANIFEST_UNKNOWN" in said or "has no image" in said:
            return _missing(said, host, repository, image.reference)
        case code:
            why = "the registry could not be asked, so a pull cannot reach it either"
            return Finding(f"registry_{code}", f"{host}: {said}", why, refusal.hint, host)


def _denied(said: str, host: str, repository: str) -> Finding:
    found = _ROLE.search(said)
    action = found["action"] if found else "ecr:BatchGetImage"
    who = found["who"] if found else "the identity of this login"
    owner = host.partition(".")[0]
    if action == "ecr:BatchImportUpstreamImage" or (repository.startswith(_CACHES) and "Import" in said):
        why = "the image is in a pull-through cache, and is not imported yet"
        advice = "allow ecr:BatchImportUpstreamImage and ecr:CreateRepository on it; see `ecrlogind policy`"
        return Finding("pull_through_denied", f"{who} may not do {action} on {repository}", why, advice, host)
    if f"::{owner}:" not in who and found:
        why = f"{repository} belongs to account {owner}, whose repository policy must allow it too"
        advice = (
            f"set the policy that `ecrlogind policy` prints under repository, in account {owner}; ours needs it as well"
        )
        return Finding("cross_account_denied", f"{who} may not do {action} on {repository}", why, advice, host)
    why = (
        "GetAuthorizationToken gives a login that works; pulling needs BatchGetImage and GetDownloadUrlForLayer besides"
    )
    advice = f"allow {action} on {repository} to that role; `ecrlogind policy` prints the whole policy"
    return Finding("pull_denied", f"{who} may not do {action} on {repository}", why, advice, host)


def _missing(said: str, host: str, repository: str, reference: str) -> Finding:
    if "NAME_UNKNOWN" in said:
        if repository.startswith(_CACHES):
            why = "a pull-through cache makes it with the first pull: the rule, or ecr:CreateRepository, is missing"
            advice = "`aws ecr describe-pull-through-cache-rules`, in that account and region"
            return Finding("pull_through_missing", f"{host} has no repository {repository}", why, advice, host)
        why = "names are exact, and repositories belong to one account and region"
        advice = f"write it as one of `aws ecr describe-repositories --registry-id {host.partition('.')[0]}`"
        return Finding("no_such_repository", f"{host} has no repository {repository}", why, advice, host)
    why = "the login is good: nobody has pushed that, or a lifecycle policy has taken it away"
    advice = f"pull one of `aws ecr list-images --registry-id {host.partition('.')[0]} --repository-name {repository}`"
    return Finding("no_such_tag", f"{host} has no {repository} with {reference}", why, advice, host)
