"""
Sends DTMF digits as RTP events (RFC 4733), each of which replaces some frames.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import Final

#: The payload type with which the caller offers C{telephone-event}.
PAYLOAD_TYPE: Final = 101

#: The digit is the index of its event (RFC 4733 table 3).
DIGITS: Final = "0123456789*#ABCD"

_EVENT: Final = struct.Struct("!BBH")
_VOLUME: Final = 10  # -10 dBm0
_END: Final = 0x80

#: A digit lasts five frames, and its end is sent three times (section 2.5.1.4).
_FRAMES: Final = 5
_END_REPEATS: Final = 3

#: The number of frames of speech between two digits.
_GAP: Final = 3


class RtpKeys:
    """
    The digits of one call.

    @param send: sends a packet: marker bit, payload type, timestamp and payload.
    """

    def __init__(self, send: Callable[[bool, int, int, bytes], None]) -> None:
        self._send = send
        self._waiting: deque[str] = deque()
        self._passed = 0
        self._began = 0
        self._gap = 0

    def press(self, digit: str) -> None:
        """
        @raise ValueError: there is no such digit.
        """
        DIGITS.index(digit)
        self._waiting.append(digit)

    def sent(self, timestamp: int, samples: int) -> bool:
        """
        @param samples: the number of samples of the frame due at C{timestamp}.
        @return: whether a digit replaces the frame.
        """
        if self._gap:
            self._gap -= 1
            return False
        if not self._waiting:
            return False
        if not self._passed:
            self._began = timestamp
        is_first = not self._passed
        self._passed += 1
        is_end = self._passed == _FRAMES
        event = DIGITS.index(self._waiting[0])
        volume = _VOLUME | (_END if is_end else 0)
        payload = _EVENT.pack(event, volume, self._passed * samples)
        for _ in range(_END_REPEATS if is_end else 1):
            self._send(is_first, PAYLOAD_TYPE, self._began, payload)
        if is_end:
            self._waiting.popleft()
            self._passed, self._gap = 0, _GAP
        return True
