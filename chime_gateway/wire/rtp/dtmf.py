"""
DTMF digits, as RTP events (RFC 4733) and in the bodies of SIP INFO.

A digit is sent in many packets, any of which may be lost or duplicated;
L{DtmfReceiver} combines them into one digit.  L{key_packets} makes the packets of a
digit to send.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from attrs import define

from chime_gateway.wire.rtp.packet import sequence_delta, timestamp_delta

#: The digit is the index of its event (RFC 4733 table 3).
DIGITS: Final = "0123456789*#ABCD"

#: Power level of sent events: -10 dBm0.
_VOLUME: Final = 10

_EVENT: Final = struct.Struct("!BBH")
_MAX_DURATION: Final = 0xFFFF

#: Flag in the second byte: the event has ended.
_END: Final = 0x80

#: Larger steps mean that the source has restarted its counters (RFC 3550 appendix A.1).
_MAX_MISORDER: Final = 100
_MAX_DROPOUT: Final = 3000

#: The last packet of an event is sent three times (section 2.5.1.4).
END_REPEATS: Final = 3

_RELAY_SIGNAL: Final = re.compile(r"\s*Signal\s*=\s*(\S+)\s*\Z", re.IGNORECASE)


@define
class DtmfReceiver:
    """
    Finds the pressed keys in the payloads of telephone-events.

    A key is reported with its first packet.  So a long press does not delay it, and
    the loss of its end does no harm.

    Sequence numbers and timestamps distinguish events and late packets, but only until
    the source restarts its counters.
    """

    _digit: int = -1
    _number: int = 0
    _timestamp: int = 0
    _duration: int = 0
    _is_over: bool = True
    _may_go_on: bool = False

    def source_changed(self) -> None:
        """The next packets have other counters."""
        self._may_go_on = True

    def event_received(
        self, sequence_number: int, timestamp: int, payload: bytes
    ) -> str | None:
        """
        Process a packet.

        @param timestamp: the packet's timestamp: when the key was pressed.
        @return: the key, if it is a new one.
        """
        if len(payload) < 4:
            return None
        event, flags, duration = _EVENT.unpack_from(payload)
        if event >= len(DIGITS):
            return None  # a tone or a line state, not a key
        ahead = sequence_delta(sequence_number, self._number)
        since = timestamp_delta(timestamp, self._timestamp)
        if not -_MAX_MISORDER <= ahead <= _MAX_DROPOUT:
            self.source_changed()
        is_end = bool(flags & _END)
        if self._may_go_on:
            # Pressed before the source changed and still held, or its end repeated.
            is_same = event == self._digit and (
                duration == self._duration
                if self._is_over
                else duration > self._duration or is_end
            )
        elif self._digit >= 0 and ahead <= 0 and since <= 0:
            return None  # a duplicate or late packet
        else:
            is_same = event == self._digit and (since == 0 or self._is_segment(since))
        self._may_go_on = False
        self._digit, self._number, self._timestamp = event, sequence_number, timestamp
        self._duration, self._is_over = duration, is_end
        return None if is_same else DIGITS[event]

    def _is_segment(self, since: int) -> bool:
        """
        Whether the packet continues a key held for more than 8 s: its next segment
        begins where the previous one ended (section 2.5.1.3).
        """
        return self._duration >= _MAX_DURATION - 1600 and since == self._duration


def key_packets(digit: str, duration: int, step: int) -> Iterator[tuple[bool, bytes]]:
    """
    Make the payloads of one key, one per C{step}; the last three end it.

    All packets have the timestamp of the first one, which alone has the marker bit.

    @param duration: in timestamp units, at most 0xFFFF.
    @param step: interval of packets, in timestamp units.
    @return: pairs of marker bit and payload.
    """
    event = DIGITS.index(digit)
    for passed in range(step, duration, step):
        yield passed == step, _EVENT.pack(event, _VOLUME, passed)
    for _ in range(END_REPEATS):
        yield False, _EVENT.pack(event, 0x80 | _VOLUME, duration)


#: Content types that L{info_digit} reads.
INFO_TYPES: Final = ("application/dtmf-relay", "application/dtmf")


def info_digit(content_type: str, body: bytes) -> str | None:
    """
    Return the key in the body of an INFO: C{application/dtmf-relay} or
    C{application/dtmf}, which no standard defines.
    """
    text = body[:200].decode("ascii", "replace")
    if content_type == "application/dtmf":
        digit = text.strip()
    elif content_type == "application/dtmf-relay":
        found = [_RELAY_SIGNAL.match(line) for line in text.splitlines()]
        digit = next((match[1] for match in found if match), "")
    else:
        return None
    digit = {"10": "*", "11": "#"}.get(digit, digit.upper())
    return digit if len(digit) == 1 and digit in DIGITS else None
