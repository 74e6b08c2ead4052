"""What a question tells of itself before the SDK is loaded: where credentials will come from, and who is asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ecrlogind.core.registry import PUBLIC_REGION, partition_of

if TYPE_CHECKING:
    from ecrlogind.core.identity import Identity
    from ecrlogind.core.wire import Call, Question

# Variables that put something before the instance's role in the SDK's chain.
_BEFORE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_SECTION = re.compile(r"^\[\s*(.*?)\s*\]\s*$", re.MULTILINE)
_KEY = re.compile(r"^(\w+)\s*=\s*(.*?)\s*$", re.MULTILINE)
_GIVES_CREDENTIALS = re.compile(
    r"^\s*(aws_access_key_id|role_arn|credential_process|web_identity_token_file|sso_\w+|login_session)\s*=",
    re.MULTILINE | re.IGNORECASE,
)
_NAMES_ENDPOINT = re.compile(r"^\s*endpoint_url\s*=", re.MULTILINE | re.IGNORECASE)


class Signs:
    """A reading of *question*. Good enough to wait by: what it does not see costs a wait at the other place."""

    def __init__(self, question: Question) -> None:
        self._question = question
        environment, files = question.environment, question.files
        self._something_before = any(environment.get(name) or files.get(name) for name in _BEFORE) or any(
            _GIVES_CREDENTIALS.search(text) for text in files.values()
        )
        self._names_endpoint = any(_NAMES_ENDPOINT.search(text) for text in files.values())
        self.forbid_instance = environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"

    def end_at_instance(self, identity: Identity) -> bool:
        """Whether *identity* begins with the role of the instance."""
        if self.forbid_instance:
            return False
        environment = self._question.environment
        profile = identity.profile or environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE")
        has_keys = identity.profile is None and bool(environment.get("AWS_ACCESS_KEY_ID"))
        if not has_keys and self._begins_at_instance(profile or "default"):
            return True
        return not (identity.profile or self._something_before)

    def _begins_at_instance(self, profile: str) -> bool:
        """Whether *profile* assumes its role, or its source's, with `credential_source = Ec2InstanceMetadata`."""
        config = _sections(self._question.files.get("AWS_CONFIG_FILE", ""))
        seen: set[str] = set()
        while profile not in seen:
            seen.add(profile)
            keys = config.get("default" if profile == "default" else f"profile {profile}", {})
            if "role_arn" not in keys:
                return False
            if keys.get("credential_source", "").lower() == "ec2instancemetadata":
                return True
            profile = keys.get("source_profile", profile)
        return False

    def endpoint(self, call: Call) -> str | None:
        """Return the URL that *call* goes to, None where only the SDK can tell."""
        service = "ecr-public" if call.public else "ecr"
        variable = f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"
        environment = self._question.environment
        for given in (
            self._question.aws.endpoints.get(service),
            environment.get(variable),
            environment.get("AWS_ENDPOINT_URL"),
        ):
            if given:
                return given
        if self._names_endpoint:
            return None
        try:
            partition = partition_of(call.region)
        except ValueError:
            return None
        if call.public:
            return f"https://api.ecr-public.{PUBLIC_REGION}.{partition.suffix}"
        fips = "-fips" if call.fips or self._question.aws.use_fips else ""
        if call.dual_stack or self._question.aws.use_dualstack:
            return f"https://ecr{fips}.{call.region}.api.{partition.dual_stack_suffix.removeprefix('on.')}"
        return f"https://api.ecr{fips}.{call.region}.{partition.suffix}"


def _sections(config: str) -> dict[str, dict[str, str]]:
    """Return the keys of each section of an AWS config file, as far as a glance tells."""
    _, *parts = _SECTION.split(config)
    names = [" ".join(name.replace('"', "").split()) for name in parts[::2]]
    return {
        name: {found[1].lower(): found[2] for found in _KEY.finditer(body)}
        for name, body in zip(names, parts[1::2], strict=True)
    }
