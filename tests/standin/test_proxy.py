import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ProxyConnectionError, ReadTimeoutError

from standin import Proxy

HOST = "api.ecr.eu-west-1.amazonaws.com"


@pytest.fixture
def proxy(aws):
    with Proxy(routes={"*.amazonaws.com": aws.tls_address}) as proxy:
        yield proxy


@pytest.fixture
def ecr(aws, client, proxy):
    config = Config(retries={"total_max_attempts": 1}, read_timeout=1, connect_timeout=1, proxies={"https": proxy.url})
    return client("ecr", keys=aws.user("111122223333"), endpoint_url=None, config=config)


def test_awss_own_host_names_lead_through_the_proxy_to_the_stand_in(aws, proxy, ecr):
    assert ecr.get_authorization_token()["authorizationData"]

    assert proxy.asked == [f"{HOST}:443"]
    assert [(call.host, call.secure) for call in aws.calls(service="ecr")] == [(HOST, True)]


def test_an_api_takes_no_signature_that_is_scoped_to_another_region(aws, client, proxy):
    config = Config(retries={"total_max_attempts": 1}, proxies={"https": proxy.url})
    astray = client("ecr", "us-east-1", keys=aws.user("111122223333"), endpoint_url=f"https://{HOST}", config=config)

    with pytest.raises(ClientError, match="scoped to a valid Region, not 'us-east-1'"):
        astray.get_authorization_token()


@pytest.mark.parametrize(("mode", "status"), [("authenticate", "407"), ("refuse", "403")])
def test_a_proxy_can_refuse(aws, proxy, ecr, mode, status):
    proxy.mode = mode

    with pytest.raises(ProxyConnectionError) as refused:
        ecr.get_authorization_token()
    assert status in str(refused.value.kwargs["error"])
    assert aws.calls(service="ecr") == []


def test_a_proxy_can_hang(proxy, ecr):
    proxy.mode = "hang"

    with pytest.raises((ReadTimeoutError, ProxyConnectionError)):
        ecr.get_authorization_token()
    assert proxy.asked == [f"{HOST}:443"]


def test_a_plain_request_is_passed_on_with_a_sign_of_the_proxy(aws, client, proxy):
    config = Config(proxies={"http": proxy.url}, retries={"total_max_attempts": 1})
    client("sts", keys=aws.user("111122223333"), config=config).get_caller_identity()

    [call] = aws.calls(service="sts")
    assert call.proxied
    assert len(proxy.asked) == 1
