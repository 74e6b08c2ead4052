import socket
import ssl

import pytest

from standin import StandIn


def shown(aws, name, ca=None, address=None):
    """Return the certificate that is shown to who asks for *name* and trusts the stand-in's CA."""
    context = ssl.create_default_context(cafile=ca or aws.ca_file)
    with (
        socket.create_connection(address or aws.tls_address, timeout=5) as connection,
        context.wrap_socket(connection, server_hostname=name) as secured,
    ):
        return secured.getpeercert()


@pytest.mark.parametrize("name", ["api.ecr.eu-west-1.amazonaws.com", "public.ecr.aws", "localhost", "127.0.0.1"])
def test_the_certificate_fits_whatever_name_is_asked_for(aws, name):
    shown(aws, name)


def test_another_ca_does_not_know_it(aws, tmp_path):
    with StandIn(tmp_path / "other") as other, pytest.raises(ssl.SSLCertVerificationError):
        shown(aws, "localhost", ca=other.ca_file)


@pytest.mark.parametrize(
    ("flaw", "words"),
    [("expired", "expired"), ("other_name", "match"), ("other_ca", "unable to get local issuer|self-signed")],
)
def test_a_certificate_can_be_flawed_and_mended(aws, flaw, words):
    shown(aws, "public.ecr.aws")
    aws.flaw(flaw, "public.ecr.aws")
    with pytest.raises(ssl.SSLCertVerificationError, match=words):
        shown(aws, "public.ecr.aws")
    shown(aws, "localhost")

    aws.flaw(None, "public.ecr.aws")
    shown(aws, "public.ecr.aws")


def test_a_client_that_says_nothing_holds_nobody_up(aws):
    with socket.create_connection(aws.tls_address):
        shown(aws, "localhost")


def test_more_sockets_can_be_opened(aws):
    url = aws.listen("127.0.0.9", 0)

    shown(aws, "sts.eu-west-1.amazonaws.com", address=("127.0.0.9", int(url.rpartition(":")[2])))


def test_the_same_directory_keeps_its_ca(tmp_path):
    with StandIn(tmp_path) as first:
        text = first.ca_file.read_text()
    with StandIn(tmp_path) as second:
        assert second.ca_file.read_text() == text
        shown(second, "localhost")
