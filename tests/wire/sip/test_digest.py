"""Digest authentication, tested with the examples of the standards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.digest import Credentials, DigestClient, Exchange
from chime_gateway.wire.sip.message import Header, Response
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
    def exchange(self, cnonce: str = "x", method: str = "GET") -> Exchange:
        credentials = Credentials("Mufasa", "Circle of Life")
        return DigestClient(credentials, lambda: cnonce).exchange(method)

    def answer(self, exchange: Exchange, response: Response) -> Header:
        self.assertTrue(exchange.challenged(response))
        (header,) = exchange.headers(URI)
        return header

    def test_the_examples_of_rfc_7616_are_reproduced(self) -> None:
        nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
        rest = f'realm="http-auth@example.org", qop="auth, auth-int", nonce="{nonce}"'
        for algorithm, expected in (
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ):
            exchange = self.exchange("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
            header = self.answer(
                exchange, challenge(f"Digest {rest}, algorithm={algorithm}")
            )
            self.assertEqual(header[0], "Authorization")
            self.assertIn(f'response="{expected}"', header[1])

    def test_without_qop_the_answer_follows_rfc_2069(self) -> None:
        client = DigestClient(Credentials("Mufasa", "CircleOfLife"), lambda: "x")
        nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
        value = f'Digest realm="testrealm@host.com", nonce="{nonce}"'
        header = self.answer(client.exchange("GET"), challenge(value, status=407))
        self.assertEqual(header[0], "Proxy-Authorization")
        self.assertNotIn("cnonce", header[1])
        self.assertIn('response="1949323746fe6a43ef61f9606e7febea"', header[1])

    def test_the_strongest_supported_challenge_is_answered(self) -> None:
        for values in (
            (
                'Digest realm="r", nonce="1", algorithm=MD5',
                'Digest realm="r", nonce="2", algorithm=SHA-256',
                'Digest realm="r", nonce="3", algorithm=SHA-3',
                'Digest realm="r", nonce="4", algorithm=SHA-512-256, qop="auth-int"',
                'Basic realm="r"',
            ),
            # Several challenges in one line, separated by commas.
            (
                'Basic realm="r", Digest realm="r", nonce="1", qop="auth,auth-int",'
                ' Digest algorithm=SHA-256, realm="r", nonce="2"',
            ),
        ):
            header = self.answer(self.exchange(), challenge(*values))
            self.assertIn("algorithm=SHA-256", header[1])
            self.assertIn('nonce="2"', header[1])

    def test_a_wrong_password_is_sent_twice_at_most(self) -> None:
        exchange = self.exchange()
        first = challenge('Digest realm="r", nonce="1"')
        self.assertTrue(exchange.challenged(first))
        self.assertFalse(exchange.challenged(first))
        self.assertEqual(exchange.headers(URI), ())
        exchange = self.exchange()
        answers = [
            exchange.challenged(challenge(f'Digest realm="r", nonce="{number}"'))
            for number in range(3)
        ]
        self.assertEqual(answers, [True, True, False])

    def test_a_stale_nonce_is_replaced_a_limited_number_of_times(
        self,
    ) -> None:
        exchange = self.exchange()
        answers = [
            exchange.challenged(challenge(f'Digest realm="r", nonce="{n}", stale=TRUE'))
            for n in range(100)
        ]
        self.assertEqual(answers[:3], [True] * 3)
        self.assertFalse(answers[-1])

    def test_an_announced_nonce_is_used_next(self) -> None:
        client = DigestClient(Credentials("u", "p"), lambda: "x")
        exchange = client.exchange("BYE")
        value = 'Digest realm="r", nonce="1", qop=auth'
        self.assertTrue(exchange.challenged(challenge(value)))
        exchange.headers(URI)
        told = challenge("", status=200)
        told.headers.add("Authentication-Info", 'nextnonce="2", qop=auth')
        exchange.accepted(told)
        (header,) = client.exchange("BYE").headers(URI)
        self.assertIn('nonce="2"', header[1])
        self.assertIn("nc=00000001", header[1])

    def test_unsupported_challenges_are_not_answered(self) -> None:
        for value in (
            "Basic abc",
            "Digest",
            'Digest realm="r"',
            "Digest self=1, nonce=2",
            'Digest realm="r", nonce="1", qop="auth-int"',
        ):
            self.assertFalse(self.exchange().challenged(challenge(value)))

    def test_the_password_is_not_shown(self) -> None:
        self.assertNotIn("Circle", repr(self.exchange()))

    @given(st.lists(st.text('"\\,= \taDigest0:', max_size=60), max_size=4))
    def test_any_challenge_is_read(self, values: list[str]) -> None:
        exchange = self.exchange()
        head = 'Digest realm="r", nonce="'
        exchange.challenged(challenge(*values, *(head + value for value in values)))
        exchange.headers(URI)
