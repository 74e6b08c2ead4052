"""The daemon among servers that mean harm: each costs its own login, and the keeper stays as it is."""

from pathlib import Path

import pytest

from standin import Fault, Proxy
from tests.support.keeper import until

GOOD = "eu-west-1"
HOSTILE = {
    "eu-west-2": ({"behaviour": "drip", "interval": 0.5}, "deadline"),
    "eu-west-3": ({"behaviour": "hang"}, "deadline"),
    "us-east-1": ({"behaviour": "huge"}, "malformed_answer"),
    "us-east-2": ({"behaviour": "gzip_bomb", "size": 30_000_000}, "malformed_answer"),
    "us-west-1": ({"behaviour": "redirect"}, "malformed_answer"),
    "us-west-2": ({"behaviour": "html"}, "malformed_answer"),
    "eu-north-1": ({"put": {"authorizationData.0.authorizationToken": "bm8gY29sb24="}}, "malformed_answer"),
    "eu-central-1": ({"put": {"authorizationData.0.expiresAt": 9e99}}, "malformed_answer"),
}
# What is swallowed whole would be hundreds of megabytes.
MOST = 100 << 20


def host_of(region):
    return f"111122223333.dkr.ecr.{region}.amazonaws.com"


@pytest.mark.timeout(300)
def test_hostile_endpoints_cost_their_own_logins_and_the_proxy_never_sees_imds(keeper, aws):
    for region, (fault, _) in HOSTILE.items():
        aws.fault(Fault(service="ecr", region=region, **fault))
    regions = [GOOD, *HOSTILE]
    wanted = {host_of(GOOD): "in_place"} | dict.fromkeys(map(host_of, HOSTILE), "failed")
    with Proxy(routes={"*.amazonaws.com": aws.tls_address}) as proxy:
        keeper.environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy.url)
        keeper.write_settings(
            [host_of(region) for region in regions],
            aws={"endpoints": {"imds": aws.endpoints["imds"]}, "ca_bundle": str(aws.ca_file), "deadline": "10s"},
        )
        with keeper.running():
            until(lambda: keeper.states() == wanted, "the good login, and a word about each of the others", 120)
            codes = {row["name"]: (row["error"] or {}).get("code") for row in keeper.document["registries"]}
            peak = (Path(f"/proc/{keeper.process.pid}/status").read_text().partition("VmHWM:")[2]).split()[0]

    assert codes == {host_of(GOOD): None} | {host_of(region): code for region, (_, code) in HOSTILE.items()}
    assert set(keeper.auths()) == {host_of(GOOD)}
    assert int(peak) << 10 < MOST
    assert {call.proxied for call in aws.calls(service="imds")} == {False}
    assert set(proxy.asked) == {f"api.ecr.{region}.amazonaws.com:443" for region in regions}
    assert {call.service for call in aws.calls()} == {"imds", "ecr"}, "no redirect was followed"
