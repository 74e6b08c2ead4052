"""A stand-in for AWS, on loopback: what tests, demo and bench run ecrlogind against.

It is moto's server behind a layer of ours that gives what moto has not: real lifetimes, a new password with every
call, ECR Public, a strict IMDSv2, signatures that are checked, the registries' own HTTP API, faults, and a record of
calls.

>>> with StandIn(directory) as aws:  # doctest: +SKIP
...     aws.endpoints  # for `[aws] endpoints`: plain HTTP, all at one port
...     aws.tls_endpoints, aws.ca_file  # the same over TLS, and the CA to trust
...     aws.listen("127.0.0.5")  # TLS on port 443: the real host names, through /etc/hosts
...     aws.world.lifetime = 30  # seconds that a password lives; also clock_skew
...     aws.instance.role = None  # also account, region, id, state: see `Instance`
...     keys = aws.user("444455556666")  # static keys; keys that nobody gave out are refused
...     aws.world.identities.roles[arn] = Role(external_id="runners")
...     with aws.deny("ecr:GetAuthorizationToken", identity="*:assumed-role/ci/*"):
...         ...
...     with aws.fault(Fault(service="ecr", region="eu-west-1", error="ThrottlingException")):
...         ...
...     aws.wait_for_calls(1, action="GetAuthorizationToken", region="eu-west-1")
...     aws.calls(service="sts")[0].session_name  # a `Record`, as CloudTrail would tell it
...     aws.newest_password("eu-west-1")
...     aws.world.passwords.only_newest = True  # registries take the newest of a region alone
...     aws.revoke(region="eu-west-1")
...     aws.accepts("111122223333.dkr.ecr.eu-west-1.amazonaws.com", password)
...     aws.world.add_image("base:latest")  # what the registries answer 200 for
...     aws.secrets(), aws.world.passwords.marks()  # what no log may contain

With a `registry` endpoint the Host header tells which registry is meant. `Remote` does the same from another process,
`spawn` starts that process, `Proxy` is an HTTP proxy to go through.
"""

from standin.aws import StandIn
from standin.calls import Record
from standin.faults import Fault
from standin.identities import Role
from standin.proxy import Proxy
from standin.remote import Remote, spawn
from standin.tls import Authority

__all__ = ["Authority", "Fault", "Proxy", "Record", "Remote", "Role", "StandIn", "spawn"]
