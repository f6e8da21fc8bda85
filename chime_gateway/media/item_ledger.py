"""
Tracks which item each byte of the stream to the caller belongs to, and what an
interruption cuts.

Every byte handed to the leg belongs to an item of the agent's conversation.  L{Ledger}
tracks items by position in the stream, so that after an interruption the agent can be
told, item by item, how much was heard.
"""

from __future__ import annotations

from typing import Final, TypeAlias, TypeVar

from attrs import Factory, define, frozen

#: (item id, content index)
ItemKey: TypeAlias = tuple[str, int]

#: The number of interrupted items and responses whose late audio is recognised.
_REMEMBERED_CUTS: Final = 64

_K = TypeVar("_K")
_V = TypeVar("_V")


def remember(cuts: dict[_K, _V | None], key: _K, value: _V | None = None) -> None:
    """Remember an interrupted item or response, and forget the oldest beyond 64."""
    cuts[key] = value
    if len(cuts) > _REMEMBERED_CUTS:
        del cuts[next(iter(cuts))]


@define(eq=False)
class Item:
    """
    One piece of the agent's speech.

    @ivar is_local: a sound of the gateway, unknown to the agent.
    @ivar received_bytes: its length so far, in its session's codec.
    @ivar half: the beginning of a sample whose rest is still to come.
    @ivar is_complete: no more will come.
    @ivar is_of_past_session: it belongs to an earlier session of the call.
    @ivar spans: where it lies in the stream, as [start, end) positions.
    @ivar padding: how many of these bytes are silence that completes a frame.
    """

    key: ItemKey
    response_id: str
    is_local: bool = False
    received_bytes: int = 0
    half: bytes = b""
    is_complete: bool = False
    is_of_past_session: bool = False
    spans: list[list[int]] = Factory(list)
    padding: int = 0

    def whole_samples(self, audio: bytes, sample_bytes: int) -> bytes:
        """
        Return its next piece, in whole samples.  Half a sample is kept for this item:
        the next item begins with a sample of its own.
        """
        audio = self.half + audio
        whole = len(audio) - len(audio) % sample_bytes
        self.half = audio[whole:]
        return audio[:whole]

    def add_span(self, start: int, end: int) -> None:
        """C{[start, end)} of the stream belongs to this item."""
        if self.spans and self.spans[-1][1] == start:
            self.spans[-1][1] = end
        else:
            self.spans.append([start, end])

    def heard(self, head: int) -> int:
        """Return how many of its bytes lie before C{head}."""
        return sum(min(end, head) - start for start, end in self.spans if start < head)

    @property
    def owed(self) -> int:
        """Its bytes in the stream, with padding."""
        return sum(end - start for start, end in self.spans)

    def is_heard(self, head: int) -> bool:
        """Return whether it ends before C{head}, not counting its padding."""
        return self.heard(head) >= (self.spoken if self.is_complete else self.owed)

    @property
    def spoken(self) -> int:
        """The bytes of the agent's audio, without padding."""
        return self.owed - self.padding


@frozen
class Cut:
    """An item that was interrupted after C{heard_bytes} (in the leg's codec)."""

    item: Item
    heard_bytes: int


class Ledger:
    """The items of one call that may still be heard."""

    __slots__ = ("_items", "_past")

    def __init__(self) -> None:
        self._items: dict[ItemKey, Item] = {}
        self._past: list[Item] = []  # of sessions that are gone

    def item(self, response_id: str, key: ItemKey) -> Item:
        """Return the item with this key.  A new one is added."""
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = Item(key, response_id)
        return item

    def find(self, item_id: str) -> list[Item]:
        return [item for item in self._items.values() if item.key[0] == item_id]

    def of_response(self, response_id: str) -> list[Item]:
        return [i for i in self._items.values() if i.response_id == response_id]

    def end_session(self) -> list[Item]:
        """
        The session that said these items has ended.  Ids are unique within a session
        only, so none of these may be mistaken for an item of the next session.

        @return: the items that were not complete.
        """
        ended = list(self._items.values())
        for item in ended:
            item.is_of_past_session = True
        self._past += ended
        self._items.clear()
        return [item for item in ended if not item.is_complete]

    def add(self, item: Item) -> None:
        self._items[item.key] = item

    def take_heard(self, head: int) -> list[Item]:
        """
        Remove and return the items that are complete and were heard to their end.
        Earlier items that are not complete go with them: they will not be completed.
        """
        played = [
            item for item in (*self._past, *self._items.values()) if item.is_heard(head)
        ]
        while played and not played[-1].is_complete:
            played.pop()
        for item in played:
            if item.is_of_past_session:
                self._past.remove(item)
            else:
                del self._items[item.key]
        return played

    def cut(self, head: int) -> list[Cut]:
        """
        Interrupt at C{head}: return every item that was not heard to its end, and every
        one that was not complete, in order.  The ledger is empty afterwards.
        """
        cuts = [
            Cut(item, item.heard(head))
            for item in (*self._past, *self._items.values())
            if not (item.is_complete and item.is_heard(head))
        ]
        self._past.clear()
        self._items.clear()
        return cuts
