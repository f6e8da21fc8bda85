"""
A certificate for 127.0.0.1 and its authority, new for each run.

RSA with 2048 bits, like the service's: the cost of checking it is part of a set-up.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


@frozen
class Certificates:
    """
    PEM files.

    @ivar authority: certificate of the authority that clients have to trust.
    @ivar chain: the server's certificate.
    """

    authority: Path
    chain: Path
    key: Path

    def for_a_server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _certificate(
    subject: str, issuer: str, key: rsa.RSAPrivateKey, signer: rsa.RSAPrivateKey
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    is_authority = subject == issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    )
    if not is_authority:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = x509.SubjectAlternativeName([address, x509.DNSName("localhost")])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


def make(folder: Path) -> Certificates:
    """Create both certificates in a folder."""
    made = Certificates(
        folder / "authority.pem", folder / "chain.pem", folder / "key.pem"
    )
    signer, key = _key(), _key()
    pem = serialization.Encoding.PEM
    authority = _certificate("Benchmark", "Benchmark", signer, signer)
    leaf = _certificate("127.0.0.1", "Benchmark", key, signer)
    made.authority.write_bytes(authority.public_bytes(pem))
    made.chain.write_bytes(leaf.public_bytes(pem))
    made.key.write_bytes(
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made
