"""
What is counted for one call while it runs.

Plain numbers that the per-frame path adds to.  Whoever wants sums over calls
reads them when asked; nothing is pushed anywhere per frame.
"""

from __future__ import annotations

from collections import Counter

from attrs import Factory, define


@define
class MediaStats:
    """
    @ivar frames_in: 20 ms frames from the caller (a part counts as its share).
    @ivar frames_out: 20 ms frames of the agent handed to the leg.
    @ivar frames_filled: silence put in for what the caller's side did not send.
    @ivar dropped: frames not delivered, by reason.
    @ivar underruns: the leg ran dry in the middle of an item.
    @ivar barge_ins: the caller's speech cut the agent's.
    @ivar turn_latencies: seconds from the end of the caller's turn to the first
        audio of the answer.
    """

    frames_in: float = 0.0
    frames_out: float = 0.0
    frames_filled: int = 0
    dropped: Counter[str] = Factory(Counter)
    underruns: int = 0
    barge_ins: int = 0
    turn_latencies: list[float] = Factory(list)
