"""The control endpoint: what the in-process API does, for another process. JSON in, JSON out, under ``/_standin/``.

=======  =============  ==================================================================================
GET      ``about``      the URLs and the CA
GET      ``calls``      the record of calls; each query parameter asks for a field's value
DELETE   ``calls``      forget them
GET      ``faults``     those in force, by number
POST     ``faults``     put one in force (the fields of `Fault`); answers ``{"number": N}``
DELETE   ``faults``     lift all, or with ``?number=N`` that one
PATCH    ``world``      ``lifetime``, ``clock_skew``, ``only_newest``, ``web_identity``, ``unknown_roles``, ``canary``
PATCH    ``instance``   ``account``, ``region``, ``id``, ``role``, ``state``, ``credentials_lifetime``
POST     ``denials``    ``action``, ``identity``, ``resource``
DELETE   ``denials``    permit everything again
POST     ``roles``      ``arn``, ``trusts``, ``external_id``
POST     ``users``      ``account``, ``name``; answers the keys
POST     ``images``     ``image``, ``host``; answers the digest
POST     ``revoke``     ``password`` or ``region``, or neither for all
GET      ``passwords``  ``?region=R``: ``value``, ``token``, ``region``, ``issued_at``, ``expires_at`` of each
POST     ``accepts``    ``host``, ``password``; answers ``{"accepts": true}``
GET      ``secrets``    every secret given out so far
=======  =============  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from standin.faults import Fault
from standin.identities import Role
from standin.message import Reply, Request, json_reply

if TYPE_CHECKING:
    from standin.aws import StandIn

_WORLD = ("lifetime", "clock_skew", "web_identity")
_PASSWORDS = ("only_newest", "canary")
_INSTANCE = ("account", "region", "id", "role", "state", "credentials_lifetime")


def answer(request: Request, aws: StandIn) -> Reply:
    """Do what is asked; a mistake in it is a 400 that says so."""
    verb = _VERBS.get((request.method, request.path.removeprefix("/_standin/").rstrip("/")))
    if verb is None:
        return json_reply({"error": f"no such verb: {request.method} {request.path}"}, 404)
    try:
        given = request.form if request.query else request.json()
        return json_reply(verb(aws, given))
    except (KeyError, TypeError, ValueError, AttributeError, LookupError) as mistake:
        return json_reply({"error": f"{type(mistake).__name__}: {mistake}"}, 400)


def _calls(aws: StandIn, given: dict[str, Any]) -> Any:
    return [asdict(record) for record in aws.calls(**given)]


def _add_fault(aws: StandIn, given: dict[str, Any]) -> Any:
    if "drop" in given:
        given["drop"] = tuple(given["drop"])
    return {"number": aws.fault(Fault(**given)).number}


def _faults(aws: StandIn, _: dict[str, Any]) -> Any:
    return {
        number: {name: value for name, value in asdict(fault).items() if name != "rewrite"}
        for number, fault in aws.world.faults.in_force()
    }


def _lift(aws: StandIn, given: dict[str, Any]) -> Any:
    aws.world.faults.lift(int(given["number"]) if "number" in given else None)
    return {}


def _change_world(aws: StandIn, given: dict[str, Any]) -> Any:
    for name, value in given.items():
        if name in _WORLD:
            setattr(aws.world, name, value)
        elif name in _PASSWORDS:
            setattr(aws.world.passwords, name, value)
        elif name == "unknown_roles":
            aws.world.identities.unknown_roles = value
        else:
            raise KeyError(name)
    return {}


def _change_instance(aws: StandIn, given: dict[str, Any]) -> Any:
    for name, value in given.items():
        if name not in _INSTANCE:
            raise KeyError(name)
        setattr(aws.instance, name, value)
    return {}


def _deny(aws: StandIn, given: dict[str, Any]) -> Any:
    aws.deny(**given)
    return {}


def _role(aws: StandIn, given: dict[str, Any]) -> Any:
    trusts = given.get("trusts")
    aws.world.identities.roles[given["arn"]] = Role(
        tuple(trusts) if trusts is not None else None, given.get("external_id")
    )
    return {}


def _passwords(aws: StandIn, given: dict[str, Any]) -> Any:
    return [
        {
            "value": each.value,
            "token": each.token,
            "region": each.region,
            "identity": each.session.arn,
            "issued_at": each.issued_at,
            "expires_at": each.expires_at,
        }
        for each in aws.passwords(given.get("region"))
    ]


def _forget(aws: StandIn, _: dict[str, Any]) -> Any:
    aws.forget_calls()
    return {}


def _permit(aws: StandIn, _: dict[str, Any]) -> Any:
    aws.world.identities.permit()
    return {}


def _revoke(aws: StandIn, given: dict[str, Any]) -> Any:
    aws.revoke(given.get("password"), region=given.get("region"))
    return {}


_VERBS: dict[tuple[str, str], Callable[[StandIn, dict[str, Any]], Any]] = {
    ("GET", "about"): lambda aws, _: aws.description,
    ("GET", "calls"): _calls,
    ("DELETE", "calls"): _forget,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _lift,
    ("PATCH", "world"): _change_world,
    ("PATCH", "instance"): _change_instance,
    ("POST", "denials"): _deny,
    ("DELETE", "denials"): _permit,
    ("POST", "roles"): _role,
    ("POST", "users"): lambda aws, given: asdict(aws.user(**given)),
    ("POST", "images"): lambda aws, given: {"digest": aws.world.add_image(**given)},
    ("POST", "revoke"): _revoke,
    ("GET", "passwords"): _passwords,
    ("POST", "accepts"): lambda aws, given: {"accepts": aws.accepts(**given)},
    ("GET", "secrets"): lambda aws, _: aws.secrets(),
}
