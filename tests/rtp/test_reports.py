"""RTCP: each side learns what came of what it sent."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.wire.rtp import rtcp
from tests.support.rtp_stream import REMOTE, RTCP, TERMS, StreamTestCase

_Place = tuple[str, int]
_places = st.tuples(
    st.sampled_from([REMOTE[0], "198.51.100.77"]), st.integers(1024, 65535)
)


class ReportTests(StreamTestCase):
    def test_reports_say_what_was_sent_and_what_came(self) -> None:
        for number in range(400):
            if number % 10:
                self.come(number)
            self.tick()
        compound = rtcp.parse(self.reports[-1][0])
        self.assertEqual(self.reports[-1][1], RTCP)
        assert compound.sender_ntp is not None
        report = compound.reports[0]
        self.assertEqual(report.ssrc, 7)
        self.assertApproximates(report.fraction_lost, 0.1, 0.03)
        self.assertApproximates(report.lost, 12, 2)  # of the 125 packets until then
        self.assertLess(report.jitter, 10)

    def test_the_peers_report_is_noted(self) -> None:
        self.tick(150)
        ours = rtcp.parse(self.reports[0][0])
        assert ours.ssrc is not None and ours.sender_ntp is not None
        sent_at = 1_700_000_000 + 100 + 0.02 * 125
        reception = rtcp.Reception(0)
        for number in range(0, 50, 2):
            reception.packet(number, number * 160, number * 160)
        block = rtcp.report_block(ours.ssrc, reception, rtcp.ntp_time(sent_at), 0.1)
        self.clock.advance(100 + 2.5 + 0.15 - self.clock.seconds())
        self.clock.advance(100 + 3.0 - self.clock.seconds())
        self.stream.rtcp_received(rtcp.receiver_report(7, block), RTCP)
        self.assertEqual(self.stream.stats.remote_lost, 24)
        round_trip = self.stream.stats.round_trip_seconds
        assert round_trip is not None
        self.assertApproximates(round_trip, self.clock.seconds() - 102.5 - 0.1, 0.01)

    def test_a_report_is_accepted_on_either_port_and_referred_to(self) -> None:
        self.come(1)
        for receive, ntp in (
            (self.stream.rtcp_received, 0x1111222233334444),
            (self.stream.rtp_received, 0x5555666677778888),
        ):
            receive(rtcp.sender_report(7, ntp, 0, 1, 160, b""), REMOTE)
            # A report of a source that is not heard.
            receive(rtcp.sender_report(8, 1 << 40, 0, 1, 160, b""), REMOTE)
            del self.reports[:]
            self.tick(400)
            report = rtcp.parse(self.reports[0][0]).reports[0]
            self.assertEqual(report.last_sr, rtcp.middle(ntp))
            self.assertApproximates(report.delay / 65536, 5, 3)

    def test_setting_the_wall_clock_does_not_change_the_round_trip(self) -> None:
        for step in (3600.0, -7200.0):
            self.tick(300)
            report = rtcp.parse(self.reports[-1][0])
            assert report.ssrc is not None and report.sender_ntp is not None
            reception = rtcp.Reception(0)
            block = rtcp.report_block(report.ssrc, reception, report.sender_ntp, 0.0)
            self.wall_ahead += step
            self.stream.rtcp_received(rtcp.receiver_report(7, block), RTCP)
            round_trip = self.stream.stats.round_trip_seconds
            assert round_trip is not None
            self.assertLess(round_trip, 8)

    def test_garbage_and_strangers_are_counted(self) -> None:
        self.stream.rtcp_received(b"junk", RTCP)
        self.stream.rtcp_received(b"\x80\xc9\0\1\0\0\0\1", ("203.0.113.1", 1))
        self.assertEqual(self.stream.stats.dropped["rtcp"], 1)
        self.assertEqual(self.stream.stats.dropped["stranger"], 1)

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("moves"), _places, _places),
                st.tuples(st.just("is back"), st.just(REMOTE), st.just(RTCP)),
                st.tuples(st.just("names"), _places, _places),
            ),
            max_size=5,
        )
    )
    def test_reports_go_where_the_reports_of_the_source_come_from(
        self, steps: list[tuple[str, _Place, _Place]]
    ) -> None:
        self.setUp()
        terms, number = TERMS, 0
        for what, media, control in [("moves", REMOTE, RTCP), *steps]:
            if what == "names":
                terms = evolve(terms, remote=media, remote_rtcp=control)
                self.stream.agree(terms)
            elif what == "is back":
                media, control = terms.remote, terms.remote_rtcp
            elif media == terms.remote:
                control = terms.remote_rtcp
            else:
                control = media[0], control[1]  # the NAT has one address
            for _ in range(20):
                self.tick()
                number += 1
                self.come(number, source=media)
            said = rtcp.receiver_report(7, b"") + rtcp.source_description(7, "x")
            self.stream.rtcp_received(said, control)
            # A source that is not heard moves nothing.
            stranger = rtcp.receiver_report(8, b"")
            self.stream.rtcp_received(stranger, ("198.51.100.66", 5000))
            self.tick(400)
            self.assertEqual(self.reports[-1][1], control)
