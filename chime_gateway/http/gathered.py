"""
Gathers the metrics of all processes of this gateway on one page: those of the newest
process unchanged, those of older ones with the label C{generation}.

The counters are not added up.  A process's counters vanish with it; their sum would
then fall, and Prometheus would take that for a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.defer import DeferredList

from chime_gateway.net.generations.channel import Message
from chime_gateway.net.generations.kin import Kin, Peer

_TEXT: Final = "metrics.text"

#: Well below Prometheus' default scrape timeout of 10 s.
ASK_SECONDS: Final = 1.0

_HELP: Final = b"# HELP "
_UP: Final = "chimegw_generation_answers"


class Gathered:
    """
    The metrics of all processes of this gateway.

    @param own: returns the metrics of this process.
    """

    def __init__(self, own: Callable[[], bytes], kin: Kin) -> None:
        self._own = own
        self._kin = kin
        kin.on(_TEXT, self._asked)

    def _asked(self, _: Peer, message: Message) -> Message:
        return Message(_TEXT, {}, self._own())

    @property
    def is_alone(self) -> bool:
        return not self._kin.older

    def own(self) -> bytes:
        return self._own()

    async def text(self) -> bytes:
        """Return the metrics of all processes that answer in time."""
        older = dict(self._kin.older)
        asking = [peer.ask(_TEXT, seconds=ASK_SECONDS) for peer in older.values()]
        results = await DeferredList(asking, consumeErrors=True)
        texts = {
            generation: answer.body if isinstance(answer, Message) else None
            for generation, (_, answer) in zip(older, results, strict=True)
        }
        return merged(self._own(), texts)


def merged(own: bytes, others: Mapping[str, bytes | None]) -> bytes:
    """
    Merge the families, so that each appears once, with all its samples (Prometheus'
    text format, 0.0.4).

    @param others: the texts of older processes by generation; C{None} for one that
        did not answer.
    """
    families = _families(own)
    up = f"{_UP} 1 for each older process that reported its metrics.\n"
    families[_UP] = [
        _HELP + up.encode(),
        f"# TYPE {_UP} gauge\n".encode(),
        *(
            f'{_UP}{{generation="{name}"}} {int(text is not None)}\n'.encode()
            for name, text in others.items()
        ),
    ]
    for generation, text in others.items():
        for name, lines in _families(text or b"").items():
            ours = families.get(name)
            if ours is None:
                ours = families[name] = [li for li in lines if li.startswith(b"#")]
            ours += [
                _labelled(line, generation)
                for line in lines
                if not line.startswith(b"#")
            ]
    return b"".join(line for lines in families.values() for line in lines)


def _families(text: bytes) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    lines: list[bytes] = []
    for line in text.split(b"\n"):
        if line.startswith(_HELP):
            lines = found.setdefault(line.split(b" ", 3)[2].decode(), [])
        if line:
            lines.append(line + b"\n")
    return found


def _labelled(line: bytes, generation: str) -> bytes:
    label = f'generation="{generation}"'.encode()
    name, brace, rest = line.partition(b"{")
    if brace and b" " not in name:
        return name + b"{" + label + b"," + rest
    name, _, rest = line.partition(b" ")
    return name + b"{" + label + b"} " + rest
