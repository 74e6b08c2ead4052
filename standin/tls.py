"""The test CA, and a certificate for whatever name a client asks for."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Flaw = Literal["expired", "other_name", "other_ca"]

_LOCAL = ("localhost", "127.0.0.1", "::1")


class Authority:
    """A CA that lives in *directory*: `file` is what clients must trust.

    An authority in a directory that has one already goes on with that one.
    """

    def __init__(self, directory: Path, name: str = "ecrlogind test CA") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._lock = threading.Lock()
        self.file = directory / "ca.pem"
        self._key_file = directory / "ca.key"
        if self._key_file.exists():
            key = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - we wrote it
            self.key = key
            self.certificate = x509.load_pem_x509_certificate(self.file.read_bytes())
            return
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            key_cert_sign=True,
            crl_sign=True,
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self.certificate = (
            self._builder(subject, subject, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        self._key_file.touch(0o600)
        self._key_file.write_bytes(_pem(self.key))

    def leaf(self, *names: str, flaw: Flaw | None = None) -> tuple[Path, Path]:
        """Return the files of a certificate for *names* (DNS names and addresses) and of its key."""
        stem = hashlib.sha256(repr((names, flaw)).encode()).hexdigest()[:20]
        certificate_file = self._directory / f"{stem}.pem"
        key_file = self._directory / f"{stem}.key"
        with self._lock:
            if not certificate_file.exists():
                self._write_leaf(names, flaw, certificate_file, key_file)
        return certificate_file, key_file

    def _write_leaf(self, names: tuple[str, ...], flaw: Flaw | None, certificate_file: Path, key_file: Path) -> None:
        signer = Authority(self._directory / "other") if flaw == "other_ca" else self
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        said = ("other.example",) if flaw == "other_name" else names
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
        certificate = (
            self._builder(subject, signer.certificate.subject, key, expired=flaw == "expired")
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in said]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(identifier, critical=False)
            .sign(signer.key, hashes.SHA256())
        )
        key_file.touch(0o600)
        key_file.write_bytes(_pem(key))
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    @staticmethod
    def _builder(
        subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, expired: bool = False
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            # Wide on both sides: tests turn the clock.
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=-1 if expired else 400))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


class Certificates:
    """The server's side of TLS: shows a certificate for the very name that the client names.

    *flaws* maps host names (``*`` for all) to what is wrong with their certificate; it may be changed at any time.
    """

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._lock = threading.Lock()
        self._contexts: dict[tuple[str, Flaw | None], ssl.SSLContext] = {}
        self.flaws: dict[str, Flaw] = {}

    def wrap(self, address: str) -> ssl.SSLContext:
        """Return the context for a connection to *address*; the name in the handshake then picks the certificate."""
        key = (address, self.flaws.get("*"))
        with self._lock:
            if key not in self._contexts:
                self._contexts[key] = self._make((*_LOCAL, address), key[1])
                self._contexts[key].sni_callback = self._pick
            return self._contexts[key]

    def _pick(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        key = ("sni:" + name.lower(), self.flaws.get(name.lower(), self.flaws.get("*")))
        with self._lock:
            if key not in self._contexts:
                self._contexts[key] = self._make((name.lower(),), key[1])
            connection.context = self._contexts[key]

    def _make(self, names: tuple[str, ...], flaw: Flaw | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._authority.leaf(*dict.fromkeys(names), flaw=flaw))
        return context


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
