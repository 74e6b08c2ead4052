"""ECR and STS through boto3: one credential for each call, one AssumeRole for each identity."""

from __future__ import annotations

import json
import threading
import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ecrlogind.core.credential import Secret
from ecrlogind.core.identity import Identity
from ecrlogind.core.refusal import Code
from ecrlogind.core.wire import Issued
from ecrlogind.issuer.authorization import read_authorization, server_time
from ecrlogind.issuer.chain import Chain, keys_of
from ecrlogind.issuer.classify import classify
from ecrlogind.issuer.instance import Keys
from ecrlogind.issuer.lean import lean
from ecrlogind.issuer.once import Once
from ecrlogind.issuer.refusals import Failed, failed

with lean():
    import boto3
    import botocore.config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecrlogind.core.wire import Call

# What a credential with `scope = "pull"` may do, however much its role may: AmazonEC2ContainerRegistryPullOnly, what
# older clients ask before they pull, and ECR Public's token.
PULL_ONLY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [
                    "ecr:GetAuthorizationToken",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchImportUpstreamImage",
                    "ecr-public:GetAuthorizationToken",
                    "sts:GetServiceBearerToken",
                ],
                "Resource": "*",
            }
        ],
    },
    separators=(",", ":"),
)


class Ecr:
    """What AWS gives for the calls of one question. *sts_region* says where an identity's roles are assumed."""

    def __init__(self, chain: Chain, session_name: Callable[[], str], sts_region: Callable[[Identity], str]) -> None:
        self._chain = chain
        self._session_name = session_name
        self._sts_region = sts_region
        # Sessions are not made for threads: they make one client at a time. Requests go side by side.
        self._making = threading.Lock()
        self._sessions: dict[str | None, boto3.Session] = {}
        self._keys: dict[Identity, Once[Keys]] = {}

    def issue(self, call: Call) -> Issued:
        """Return the credential for *call*; raise Failed."""
        keys = self._keys_for(call.identity)
        client = self._client("ecr-public" if call.public else "ecr", call.region, call.identity, keys, call)
        host = urlsplit(client.meta.endpoint_url).netloc
        answer = _ask(client.get_authorization_token, host, call.identity)
        now = server_time(answer["ResponseMetadata"]["HTTPHeaders"].get("date"), time.time())
        username, password, lifetime = read_authorization(answer.get("authorizationData"), now, host)
        return Issued(call, username, password, lifetime)

    def _keys_for(self, identity: Identity) -> Keys:
        """Return what *identity* signs with, found out once for all its calls."""
        with self._making:
            once = self._keys.setdefault(identity, Once(lambda: self._find_keys(identity)))
        return once()

    def _find_keys(self, identity: Identity) -> Keys:
        if not identity.roles:
            try:
                keys: Keys = _ask(lambda: self._keys_of_chain(identity), "the SDK's chain of credentials", identity)
            except (Failed, MemoryError):
                raise
            except Exception as error:  # noqa: BLE001  see below
                # What the chain reads, files and programs' output, can be anything; botocore trips over some of it.
                raise failed(
                    Code.NO_CREDENTIALS, f"the SDK's chain cannot read its source ({type(error).__name__})"
                ) from None
            return keys
        # Whoever assumes is an identity too: roles that begin alike share it.
        before = replace(identity, roles=identity.roles[:-1], external_id=None, duration=None, scope=None)
        return self._assume(identity, self._keys_for(before if before.roles else Identity(identity.profile)))

    def _keys_of_chain(self, identity: Identity) -> Keys:
        with self._making:
            session = self._session(identity)
        return keys_of(session)

    def _assume(self, identity: Identity, keys: Keys) -> Keys:
        sts = self._client("sts", self._sts_region(identity), identity, keys)
        host = urlsplit(sts.meta.endpoint_url).netloc
        wanted = dict(_role_request(identity, self._session_name()))
        answer = _ask(lambda: sts.assume_role(**wanted), host, identity)
        given = answer.get("Credentials", {})
        found = [given.get(key) for key in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
        if not all(found):
            raise failed(Code.MALFORMED_ANSWER, f"{host} answered with incomplete credentials for {identity.label}")
        access, secret, token = found
        return Keys(access, Secret(secret), Secret(token))

    def _session(self, identity: Identity) -> boto3.Session:
        if identity.profile not in self._sessions:
            core = self._chain.session(
                identity.profile, self._sts_region(Identity(identity.profile)), self._session_name
            )
            self._sessions[identity.profile] = boto3.Session(botocore_session=core)
        return self._sessions[identity.profile]

    def _client(self, service: str, region: str, identity: Identity, keys: Keys, variant: Call | None = None) -> Any:
        # None leaves it to the environment, where the settings are, and to the profile.
        config = botocore.config.Config(
            use_fips_endpoint=(variant is not None and variant.fips) or None,
            use_dualstack_endpoint=(variant is not None and variant.dual_stack) or None,
        )

        def make() -> Any:
            with self._making:
                return self._session(identity).client(
                    service,
                    region_name=region,
                    aws_access_key_id=keys.access,
                    aws_secret_access_key=keys.secret.reveal(),
                    aws_session_token=keys.token.reveal() if keys.token else None,
                    config=config,
                )

        return _ask(make, f"{service} in {region}", identity)


def _ask(question: Callable[[], Any], host: str, identity: Identity) -> Any:
    """Return what *question* brings; raise Failed where botocore raises, and where it trips over an answer."""
    try:
        return question()
    except Exception as error:
        refusal = classify(error, host, identity.label, time.time())
        if refusal is None and _is_over_answer(error):
            refusal = failed(
                Code.MALFORMED_ANSWER, f"{host} answered with what cannot be read ({type(error).__name__})"
            )
        if refusal is None:
            raise
        raise refusal from None


def _is_over_answer(error: Exception) -> bool:
    """Whether botocore tripped over what a server had sent, which is none of its own errors and no fault of ours."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return "botocore.endpoint" in modules and not (
        modules[-1].startswith("ecrlogind.") or isinstance(error, MemoryError)
    )


def _role_request(identity: Identity, session_name: str) -> Iterator[tuple[str, object]]:
    yield "RoleArn", identity.roles[-1]
    yield "RoleSessionName", identity.session_name or session_name
    if identity.external_id is not None:
        yield "ExternalId", identity.external_id
    if identity.duration is not None:
        yield "DurationSeconds", int(identity.duration.total_seconds())
    if identity.scope == "pull":
        yield "Policy", PULL_ONLY
