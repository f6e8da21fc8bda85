"""Digest answers, against the examples of the standards."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.digest import Credentials, DigestClient
from chime_gateway.wire.sip.message import Response
from chime_gateway.wire.sip.parser import parse

URI = "/dir/index.html"


def challenge(*values: str, status: int = 401) -> Response:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    lines = "".join(f"{name}: {value}\r\n" for value in values)
    message = parse(
        f"SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n"
        "From: <sip:c@d>;tag=f\r\n"
        f"To: <sip:a@b>;tag=t\r\nCall-ID: i\r\nCSeq: 1 GET\r\n{lines}\r\n".encode()
    )
    assert isinstance(message, Response)
    return message


class DigestTests(SynchronousTestCase):
    def client(self, cnonce: str) -> DigestClient:
        return DigestClient(Credentials("Mufasa", "Circle of Life"), lambda: cnonce)

    def test_the_examples_of_rfc_7616(self) -> None:
        nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
        rest = f'realm="http-auth@example.org", qop="auth, auth-int", nonce="{nonce}"'
        for algorithm, expected in (
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ):
            client = self.client("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
            header = client.answer(
                challenge(f"Digest {rest}, algorithm={algorithm}"), "GET", URI
            )
            assert header is not None
            self.assertEqual(header[0], "Authorization")
            self.assertIn(f'response="{expected}"', header[1])

    def test_without_qop_it_is_that_of_rfc_2069(self) -> None:
        client = DigestClient(Credentials("Mufasa", "CircleOfLife"), lambda: "x")
        nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
        value = f'Digest realm="testrealm@host.com", nonce="{nonce}"'
        header = client.answer(challenge(value, status=407), "GET", URI)
        assert header is not None
        self.assertEqual(header[0], "Proxy-Authorization")
        self.assertNotIn("cnonce", header[1])
        self.assertIn('response="1949323746fe6a43ef61f9606e7febea"', header[1])

    def test_the_strongest_that_is_known_is_answered(self) -> None:
        header = self.client("x").answer(
            challenge(
                'Digest realm="r", nonce="1", algorithm=MD5',
                'Digest realm="r", nonce="2", algorithm=SHA-256',
                'Digest realm="r", nonce="3", algorithm=SHA-512-256',
                'Basic realm="r"',
            ),
            "GET",
            URI,
        )
        assert header is not None
        self.assertIn("algorithm=SHA-256", header[1])

    def test_a_wrong_password_is_not_tried_for_ever(self) -> None:
        client = self.client("x")
        first = challenge('Digest realm="r", nonce="1"')
        self.assertIsNotNone(client.answer(first, "GET", URI))
        self.assertIsNone(client.answer(first, "GET", URI))
        self.assertIsNone(
            client.answer(challenge('Digest realm="r", nonce="2"'), "GET", URI)
        )
        stale = challenge('Digest realm="r", nonce="3", stale=true')
        self.assertIsNotNone(client.answer(stale, "GET", URI))

    def test_what_cannot_be_answered(self) -> None:
        for value in (
            "Basic abc",
            "Digest",
            'Digest realm="r"',
            "Digest self=1, nonce=2",
        ):
            self.assertIsNone(self.client("x").answer(challenge(value), "GET", URI))

    def test_the_password_is_not_shown(self) -> None:
        self.assertNotIn("Circle", repr(self.client("x")))
