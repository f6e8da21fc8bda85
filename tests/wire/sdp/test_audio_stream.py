"""Session descriptions, offered and answered."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.wire.sdp.audio_stream import (
    Direction,
    LocalAudio,
    RemoteAudio,
    audio_lines,
    read_audio,
    unused_lines,
)
from chime_gateway.wire.sdp.description import (
    MAX_BYTES,
    SdpError,
    format_description,
    parse,
)
from chime_gateway.wire.sdp.sdes import Crypto

HEAD = "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
KEY30 = "inline:" + "A" * 40
KEY46 = "inline:" + "A" * 62 + "=="


#: Lines with valid and invalid values.
NUMBERS = st.one_of(
    st.integers(-2, 70000).map(str),
    st.sampled_from(("65535", "65536", "00000070000", "0" * 5000 + "9", "", "x")),
    st.text("0123456789\N{ARABIC-INDIC DIGIT THREE}-+ ", max_size=12),
)


def read(audio: str, head: str = HEAD) -> RemoteAudio:
    return read_audio(parse((head + audio).encode()))


class ReadingTests(SynchronousTestCase):
    def test_an_offer_of_the_voice_connector_is_read(self) -> None:
        audio = read(
            "m=audio 36488 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n"
            "a=rtcp:36499\r\na=ptime:20\r\n"
        )
        self.assertEqual((audio.host, audio.port), ("192.0.2.1", 36488))
        self.assertEqual((audio.rtcp_host, audio.rtcp_port), ("192.0.2.1", 36499))
        self.assertEqual(audio.codecs, ((0, PCMU),))
        self.assertEqual(audio.telephone_event, 101)
        self.assertEqual((audio.ptime_ms, audio.direction), (20, Direction.SENDRECV))

    def test_static_and_dynamic_types_keep_the_offered_order(self) -> None:
        audio = read(
            "m=audio 4 RTP/AVP 18 8 96 0 97\r\na=rtpmap:96 pcmu/8000\r\n"
            "a=rtpmap:97 telephone-event/16000\r\na=rtpmap:18 G729/8000\r\n"
        )
        self.assertEqual(audio.codecs, ((8, PCMA), (96, PCMU), (0, PCMU)))
        self.assertIsNone(audio.telephone_event)
        self.assertEqual(audio.rtcp_port, 5)

    def test_other_clock_rates_and_stereo_are_ignored(self) -> None:
        audio = read(
            "m=audio 4 RTP/AVP 96 97 8\r\na=rtpmap:96 PCMU/16000\r\n"
            "a=rtpmap:97 PCMU/8000/2\r\n"
        )
        self.assertEqual(audio.codecs, ((8, PCMA),))

    def test_the_stream_s_own_line_is_preferred(self) -> None:
        audio = read(
            "a=inactive\r\nm=video 9 RTP/AVP 31\r\nm=audio 6 RTP/AVP 0\r\n"
            "c=IN IP4 192.0.2.9\r\na=rtcp:77 IN IP4 192.0.2.10\r\na=sendonly\r\n"
        )
        self.assertEqual((audio.index, audio.host), (1, "192.0.2.9"))
        self.assertEqual((audio.rtcp_host, audio.rtcp_port), ("192.0.2.10", 77))
        self.assertEqual(audio.direction, Direction.SENDONLY)

    def test_directions_are_read_and_reversed(self) -> None:
        for line, theirs, ours in (
            ("", "sendrecv", "sendrecv"),
            ("a=sendonly\r\n", "sendonly", "recvonly"),
            ("a=recvonly\r\n", "recvonly", "sendonly"),
            ("a=inactive\r\n", "inactive", "inactive"),
        ):
            audio = read("m=audio 6 RTP/AVP 0\r\n" + line)
            self.assertEqual(audio.direction.value, theirs)
            self.assertEqual(audio.direction.reverse.value, ours)
        old = read("m=audio 6 RTP/AVP 0\r\n", HEAD.replace("192.0.2.1", "0.0.0.0"))
        self.assertEqual(old.direction, Direction.SENDONLY)

    def test_supported_ptimes_are_used(self) -> None:
        for lines, ptime in (
            ("", 20),
            ("a=ptime:30\r\n", 30),
            ("a=ptime:0\r\n", 20),
            ("a=ptime:25\r\n", 20),
            ("a=ptime:x\r\n", 20),
            ("a=ptime:99999\r\n", 20),
            ("a=maxptime:10\r\n", 10),
            ("a=ptime:60\r\na=maxptime:45\r\n", 40),
        ):
            self.assertEqual(read("m=audio 6 RTP/AVP 0\r\n" + lines).ptime_ms, ptime)

    def test_only_usable_keys_are_read(self) -> None:
        audio = read(
            "m=audio 6 RTP/SAVP 0\r\n"
            f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY30}|2^31|1:4\r\n"
            f"a=crypto:2 F8_128_HMAC_SHA1_80 {KEY30}\r\n"
            f"a=crypto:3 AES_CM_128_HMAC_SHA1_32 {KEY30} UNENCRYPTED_SRTP\r\n"
            f"a=crypto:4 AES_256_CM_HMAC_SHA1_80 {KEY46}|2^31\r\n"
            "a=crypto:5 AES_CM_128_HMAC_SHA1_80 inline:short\r\n"
            "a=crypto:6 AES_CM_128_HMAC_SHA1_80 inline:!!!!\r\n"
            f"a=crypto:7 AES_CM_128_HMAC_SHA1_32 {KEY30}\r\n"
        )
        self.assertEqual([crypto.tag for crypto in audio.cryptos], [4, 7])
        self.assertNotIn("AAAA", repr(audio.cryptos[0]))
        plain = read(
            f"m=audio 6 RTP/AVP 0\r\na=crypto:7 AES_CM_128_HMAC_SHA1_32 {KEY30}\r\n"
        )
        self.assertEqual(plain.cryptos, ())

    def test_unusable_audio_is_rejected(self) -> None:
        for text in (
            HEAD,
            HEAD + "m=audio 0 RTP/AVP 0\r\n",
            HEAD + "m=audio 5 UDP/TLS/RTP/SAVPF 0\r\n",
            HEAD + "m=audio 99999 RTP/AVP 0\r\n",
            HEAD + "m=audio x RTP/AVP 0\r\n",
            HEAD + "m=audio 5\r\n",
            HEAD.replace("c=IN IP4 192.0.2.1\r\n", "") + "m=audio 5 RTP/AVP 0\r\n",
            HEAD.replace("IN IP4 192", "IN ATM 192") + "m=audio 5 RTP/AVP 0\r\n",
            "v=1\r\n",
            "",
            HEAD + "nonsense\r\n",
            HEAD + "a=x\r\n" * 600,
            HEAD + "a=" + "x" * MAX_BYTES,
        ):
            with self.assertRaises(SdpError):
                read_audio(parse(text.encode()))

    @settings(max_examples=150, deadline=None)
    @given(NUMBERS, NUMBERS, st.lists(NUMBERS, min_size=1, max_size=4))
    def test_read_addresses_and_ports_are_usable(
        self, port: str, rtcp: str, formats: list[str]
    ) -> None:
        text = f"m=audio {port} RTP/AVP {' '.join(formats)}\r\na=rtcp:{rtcp}\r\n"
        try:
            audio = read(text)
        except SdpError:
            return
        self.assertIn(audio.port, range(1, 65536))
        self.assertIn(audio.rtcp_port, range(1, 65536))
        for payload_type, _ in audio.codecs:
            self.assertIn(payload_type, range(128))

    @settings(max_examples=300, deadline=None)
    @given(st.text(max_size=300))
    def test_any_text_is_a_description_or_an_error(self, text: str) -> None:
        for head in ("", HEAD + "m=audio 5 RTP/AVP 0\r\na="):
            try:
                read_audio(parse((head + text).encode("utf-8", "surrogatepass")))
            except SdpError:
                continue


class WritingTests(SynchronousTestCase):
    LOCAL = LocalAudio(
        port=4000,
        protocol="RTP/AVP",
        codecs=((0, PCMU), (8, PCMA)),
        telephone_event=101,
    )

    def test_a_written_offer_is_read_back(self) -> None:
        body = format_description(1, 1, "192.0.2.2", [audio_lines(self.LOCAL)])
        audio = read_audio(parse(body))
        self.assertEqual(audio.codecs, ((0, PCMU), (8, PCMA)))
        self.assertEqual((audio.host, audio.port), ("192.0.2.2", 4000))
        self.assertEqual((audio.telephone_event, audio.protocol), (101, "RTP/AVP"))

    def test_a_rejected_section_keeps_its_line(self) -> None:
        offer = parse(f"{HEAD}m=video 9/2 RTP/AVP 31 32\r\na=x\r\n".encode())
        self.assertEqual(unused_lines(offer.media[0]), ["m=video 0 RTP/AVP 31 32"])

    def test_ipv6_and_keys_are_written(self) -> None:
        crypto = Crypto(3, "AES_CM_128_HMAC_SHA1_80", bytes(30))
        local = LocalAudio(
            port=6,
            protocol="RTP/SAVPF",
            codecs=((0, PCMU),),
            telephone_event=None,
            crypto=crypto,
        )
        body = format_description(1, 1, "2001:db8::1", [audio_lines(local)])
        self.assertIn(b"c=IN IP6 2001:db8::1", body)
        audio = read_audio(parse(body))
        self.assertEqual(audio.cryptos, (crypto,))
        self.assertTrue(audio.is_secure)
