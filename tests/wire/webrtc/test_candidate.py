"""Candidates and credentials of session descriptions."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.candidate import (
    TCP_ACTIVE_PREFERENCE,
    TCP_PASSIVE_PREFERENCE,
    Candidate,
    Credentials,
    CredentialsError,
    new_credentials,
    parse_candidate,
    priority,
)

_ICE_CHARACTERS = "abcXYZ019+/"

CANDIDATES = st.builds(
    Candidate,
    host=st.ip_addresses(v=4).map(str),
    port=st.integers(1, 65535),
    priority=st.integers(1, 2**31 - 1),
    foundation=st.text(_ICE_CHARACTERS, min_size=1, max_size=32),
    kind=st.sampled_from(("host", "srflx", "prflx", "relay")),
)


class CandidateTests(SynchronousTestCase):
    def test_candidates_of_the_service_are_read(self) -> None:
        udp = parse_candidate("1 1 udp 2130706431 203.0.113.7 3478 typ host ufrag Ab/1")
        self.assertEqual(udp, Candidate("203.0.113.7", 3478, 2130706431))
        tcp = parse_candidate(
            "2 1 tcp 1671430143 203.0.113.7 443 typ host tcptype passive ufrag Ab/1"
        )
        expected = Candidate(
            "203.0.113.7", 443, 1671430143, "2", "tcp", tcp_type="passive"
        )
        self.assertEqual(tcp, expected)

    def test_candidates_of_browsers_are_read(self) -> None:
        for text in (
            "750991856 1 UDP 2122260223 192.0.2.5 52788 typ host generation 0"
            " ufrag PWwO network-id 2 network-cost 50",
            "0 1 UDP 2122252543 192.0.2.5 52788 typ host",
            "842163049 1 udp 1677729535 192.0.2.5 52788 typ srflx raddr 0.0.0.0"
            " rport 0 generation 0 network-cost 999",
            "H1 1 udp 5 ::ffff:192.0.2.5 52788 typ host",
        ):
            found = parse_candidate(text)
            assert found is not None, text
            self.assertEqual((found.host, found.port), ("192.0.2.5", 52788))

    def test_unusable_candidates_are_ignored(self) -> None:
        for text in (
            "",
            "1 1 udp 1 192.0.2.5 1 typ",
            "1 1 udp 1 2cf0b2c0-0842-4fe3-aaa0-4556a2dfbadc.local 1 typ host",
            "1 1 udp 1 example.com 1 typ host",
            "1 2 udp 1 192.0.2.5 1 typ host",
            "1 1 sctp 1 192.0.2.5 1 typ host",
            "1 1 ssltcp 1 192.0.2.5 1 typ host tcptype passive",
            "1 1 tcp 1 192.0.2.5 1 typ host",
            "1 1 udp 0 192.0.2.5 1 typ host",
            "1 1 udp 2147483648 192.0.2.5 1 typ host",
            "1 1 udp 1 192.0.2.5 0 typ host",
            "1 1 udp 1 192.0.2.5 65536 typ host",
            "1 1 udp 1 0.0.0.0 1 typ host",
            "1 1 udp 1 255.255.255.255 1 typ host",
            "1 1 udp 1 224.0.0.1 1 typ host",
            "1 1 udp 1 fe80::1%eth0 1 typ host",
            "1 1 udp 1 192.0.2.5 1 typ other",
            "1 1 udp \N{ARABIC-INDIC DIGIT THREE} 192.0.2.5 1 typ host",
            "1 1 udp " + "0" * 5000 + "1 192.0.2.5 1 typ host",
        ):
            self.assertIsNone(parse_candidate(text), text[:80])

    @given(CANDIDATES, st.sampled_from(("", "active", "passive", "so")))
    def test_a_written_candidate_is_read_back(
        self, one: Candidate, tcp_type: str
    ) -> None:
        if tcp_type:
            one = Candidate(
                *(one.host, one.port, one.priority, one.foundation),
                *("tcp", one.kind, tcp_type),
            )
        found = parse_candidate(str(one))
        if found is not None:  # otherwise no host can have the address
            self.assertEqual(found, one)

    @given(st.text(max_size=200) | st.lists(st.text(max_size=20)).map(" ".join))
    def test_any_text_is_read_or_ignored(self, text: str) -> None:
        parse_candidate(text)
        parse_candidate("1 1 udp 1 192.0.2.5 1 typ host " + text)

    def test_udp_is_preferred_to_tcp_and_to_reflexive_candidates(self) -> None:
        self.assertEqual(priority("host"), 2130706431)
        order = [
            priority("host"),
            priority("host", TCP_ACTIVE_PREFERENCE),
            priority("host", TCP_PASSIVE_PREFERENCE),
            priority("prflx"),
        ]
        self.assertEqual(order, sorted(order, reverse=True))
        self.assertEqual(len(set(order)), 4)


class CredentialsTests(SynchronousTestCase):
    def test_our_credentials_are_valid_and_new_each_time(self) -> None:
        made = {new_credentials(os.urandom) for _ in range(50)}
        self.assertEqual(len({one.ufrag for one in made}), 50)
        self.assertNotIn("password", repr(made.pop()))

    @given(
        st.text(_ICE_CHARACTERS, min_size=4, max_size=256),
        st.text(_ICE_CHARACTERS, min_size=22, max_size=256),
    )
    def test_all_valid_credentials_are_accepted(
        self, ufrag: str, password: str
    ) -> None:
        Credentials(ufrag, password)

    def test_invalid_credentials_are_rejected(self) -> None:
        good = "a" * 22
        for ufrag, password in (
            ("abc", good),
            ("a" * 257, good),
            ("abc:", good),
            ("abcd\n", good),
            ("äbcd", good),
            ("abcd", good[1:]),
            ("abcd", "a" * 257),
            ("abcd", good + "\n"),
        ):
            self.assertRaises(CredentialsError, Credentials, ufrag, password)
