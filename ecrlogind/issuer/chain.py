"""The SDK's own credential chain, with the environment and the files of the question, and with our own way out.

Parts of botocore's are replaced: requests go through our transport, the instance's role comes from our `Metadata`
(IMDSv2 only, never refreshed in a process that lives for one question), and a credential process gets no keys of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ecrlogind.core.credential import Secret
from ecrlogind.core.refusal import Code
from ecrlogind.issuer import proxies
from ecrlogind.issuer.instance import Keys, Metadata
from ecrlogind.issuer.lean import lean
from ecrlogind.issuer.refusals import failed
from ecrlogind.issuer.transport import Transport

with lean():
    import botocore.awsrequest
    import botocore.config
    import botocore.credentials
    import botocore.loaders
    import botocore.session
    import botocore.utils

if TYPE_CHECKING:
    import boto3

    from ecrlogind.issuer.process import Processes

# Every service that a question or a profile may need. botocore would list all its 400 folders to know them.
SERVICES = ["ecr", "ecr-public", "signin", "sso", "sso-oidc", "sts"]


class Loader(botocore.loaders.Loader):
    """botocore's data, without a look at what of it we do not use."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002  botocore's signature
        """Return the services that we may ask."""
        return SERVICES


class RoleOfInstance:
    """What botocore calls an instance metadata fetcher."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def retrieve_iam_role_credentials(self) -> dict[str, Any]:
        """Return the role's credentials, as if they lived long: AWS says when they end, not the local clock."""
        keys = self._metadata.keys()
        return {
            "role_name": "instance",
            "access_key": keys.access,
            "secret_key": keys.secret.reveal(),
            "token": keys.token.reveal() if keys.token else None,
            "expiry_time": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        }


class Sender:
    """What botocore calls an HTTP session: sends its prepared requests through our transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def send(self, request: Any) -> botocore.awsrequest.AWSResponse:
        """Return the answer to *request*; raise Failed."""
        headers = {
            name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
        }
        body = request.body or b""
        reply = self._transport.send(
            request.method, request.url, headers, body.encode() if isinstance(body, str) else body
        )
        if 300 <= reply.status < 400:  # noqa: PLR2004  the class of redirects
            raise failed(
                Code.MALFORMED_ANSWER,
                f"{request.url.split('/')[2]} answered with a redirect ({reply.status}), which AWS never does",
            )
        return botocore.awsrequest.AWSResponse(request.url, reply.status, cast("Any", reply.headers), _Body(reply.body))


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


class Chain:
    """Sessions with the chain of the question: one per profile, a new one for each question."""

    def __init__(self, transport: Transport, metadata: Metadata, processes: Processes, user_agent: str) -> None:
        self._sender = Sender(transport)
        beside = Sender(Transport(transport.deadline, proxies.NONE, None))  # link-local: never through a proxy
        self._loader = Loader()
        _put_in_place(
            InstanceMetadataFetcher=lambda **_: RoleOfInstance(metadata),
            ContainerMetadataFetcher=partial(botocore.utils.ContainerMetadataFetcher, session=beside),
            ProcessProvider=partial(botocore.credentials.ProcessProvider, popen=processes.popen),
        )
        self._defaults = botocore.config.Config(
            user_agent=user_agent,
            # The keeper owns retrying: it knows when the last try was, and what else there is to do.
            retries={"mode": "standard", "total_max_attempts": 1},
        )

    def session(self, profile: str | None, region: str, session_name: Callable[[], str]) -> botocore.session.Session:
        """Return a session whose nested calls (to STS) go to *region*."""
        session = botocore.session.Session(profile=profile)
        session.register_component("data_loader", self._loader)
        session.set_config_variable("sts_regional_endpoints", "regional")
        session.set_default_client_config(self._defaults)
        # Times stay as the server wrote them: ours to judge, and no server can make a parser fail.
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=lambda value: value)
        on: Any = session.register
        on("before-send", lambda request, **_: self._sender.send(request))
        on("provide-client-params.sts", _named(session_name))
        resolver = botocore.credentials.create_credential_resolver(session, region_name=region)
        # These two read files of their own in /etc and in a home.
        for name in ("ec2-credentials-file", "boto-config"):
            resolver.remove(name)
        session.register_component("credential_provider", resolver)
        return session


def _put_in_place(**ours: object) -> None:
    """Let botocore's chain be built of *ours* wherever it makes these: at its end and behind profiles alike.

    Fit for a process that answers one question and is gone; the seams that botocore offers reach the chain's own
    providers only, not those that it makes for a `source_profile`.
    """
    for name, part in ours.items():
        if not hasattr(botocore.credentials, name):
            raise AttributeError(f"this botocore has no {name}: ecrlogind does not know it")
        setattr(botocore.credentials, name, part)


def keys_of(session: boto3.Session) -> Keys:
    """Return what the chain finds; raise Failed or one of botocore's errors."""
    credentials = session.get_credentials()
    if credentials is None:
        raise failed(Code.NO_CREDENTIALS, "no credentials anywhere in the SDK's chain")
    frozen = credentials.get_frozen_credentials()
    if not frozen.access_key or not frozen.secret_key:
        raise failed(Code.NO_CREDENTIALS, "the credentials that the chain found are incomplete")
    return Keys(frozen.access_key, Secret(frozen.secret_key), Secret(frozen.token) if frozen.token else None)


def _named(session_name: Callable[[], str]) -> Callable[..., dict[str, Any]]:
    """Give a role that a profile assumes without a session name of its own the name that tells who asked."""

    def name(params: Mapping[str, Any], **_: object) -> dict[str, Any]:
        if str(params.get("RoleSessionName", "")).startswith("botocore-session-"):
            return {**params, "RoleSessionName": session_name()}
        return dict(params)

    return name
