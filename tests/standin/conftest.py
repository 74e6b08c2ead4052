import http.client
from dataclasses import dataclass
from urllib.parse import urlsplit

import botocore.loaders
import botocore.session
import pytest
from botocore.config import Config

from standin import StandIn

# One for all clients: reading botocore's data again for each would be most of these tests' time.
LOADER = botocore.loaders.Loader([botocore.loaders.Loader.BUILTIN_DATA_PATH])
ONE_TRY = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5, proxies={})


@pytest.fixture
def aws(tmp_path, monkeypatch):
    """Yield a stand-in, and let botocore see the instance it plays and nothing else."""
    with StandIn(tmp_path / "aws") as aws:
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, "/dev/null")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.url)
        yield aws


@pytest.fixture
def client(aws):
    """Return a function that makes clients: *keys* is a `Session`, or what AssumeRole answered; None is IMDS."""
    made = []

    def client(service, region="eu-west-1", keys=None, **options):
        if isinstance(keys, dict):
            keys = (keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
        elif keys is not None:
            keys = (keys.access_key, keys.secret_key, keys.token)
        options = {"endpoint_url": aws.endpoints[service], "verify": str(aws.ca_file), "config": ONE_TRY, **options}
        session = botocore.session.Session()
        session.register_component("data_loader", LOADER)
        if keys is not None:
            session.set_credentials(*keys)
        made.append(session.create_client(service, region, **options))
        return made[-1]

    yield client
    for each in made:
        each.close()


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@pytest.fixture
def ask(aws):
    """Return a function that asks the stand-in over plain HTTP, with nothing in between that could be clever."""

    def ask(method, path, headers=None, body=None, timeout=5):
        connection = http.client.HTTPConnection(urlsplit(aws.url).netloc, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    return ask
