"""A picture of one call: who spoke, its sessions, and the faults."""

from __future__ import annotations

from html import escape

from suites.faults.conversations import Conversation, Event, sessions_of

_LEFT, _TOP, _ROW, _BAR = 130, 50, 34, 18
_PER_SECOND = 28

_STYLE = (
    "text{font:11px sans-serif;fill:#222}.axis{stroke:#ccc;stroke-width:1}"
    ".caller{fill:#4c78a8}.agent{fill:#54a24b}.sound{fill:#c9e4c6}"
    ".session{fill:#eeca3b}.fault{stroke:#d62728;stroke-width:2}.told{fill:#d62728}"
)


def timeline(conversation: Conversation, events: list[Event]) -> str:
    """
    Draw a conversation as SVG.

    @param events: the logs of the services.
    """
    mine = sessions_of(conversation.number, events)
    events = [one for one in events if one.session in mine]
    ear = conversation.line.ear
    began = min(one.at for one in events)
    over = max([ear.ends, *(one.at for one in events)])
    width = _LEFT + round((over - began) * _PER_SECOND) + 40
    order = sorted(mine, key=lambda name: _opened(name, events))
    height = _TOP + _ROW * (2 + len(order)) + 30

    def x(at: float) -> float:
        return round(_LEFT + (at - began) * _PER_SECOND, 1)

    def bar(row: int, start: float, end: float, kind: str, title: str) -> str:
        y = _TOP + _ROW * row
        wide = max(1.0, round(x(end) - x(start), 1))
        return (
            f'<rect class="{kind}" x="{x(start)}" y="{y}" width="{wide}"'
            f' height="{_BAR}"><title>{escape(title)}</title></rect>'
        )

    def label(row: int, text: str) -> str:
        return f'<text x="6" y="{_TOP + _ROW * row + 13}">{escape(text)}</text>'

    parts = [label(0, "caller"), label(1, "agent, as heard")]
    parts += [
        f'<line class="axis" x1="{x(began + s)}" y1="{_TOP - 8}" x2="{x(began + s)}"'
        f' y2="{height - 20}"/>'
        f'<text x="{x(began + s) + 2}" y="{height - 8}">{s} s</text>'
        for s in range(0, int(over - began) + 1, 5)
    ]
    parts += [
        bar(0, one.begins, one.ends, "caller", one.text)
        for one in conversation.line.said
    ]
    parts += [bar(1, start, end, "sound", "sound") for start, end in ear.audible()]
    for said in ear.sentences():
        end = said.at_seconds + 0.08 * (len(said.text) + 3)
        parts.append(bar(1, said.at_seconds, end, "agent", said.text))
    for row, name in enumerate(order, 2):
        own = [one for one in events if one.session == name]
        parts.append(label(row, f"{name[0]}, session {name[1]}"))
        ends = [one.at for one in own if one.what == "closed"]
        parts.append(bar(row, own[0].at, ends[0] if ends else over, "session", name[0]))
        for one in own:
            if one.what == "fault":
                y = _TOP + _ROW * row
                parts.append(
                    f'<line class="fault" x1="{x(one.at)}" y1="{_TOP - 6}"'
                    f' x2="{x(one.at)}" y2="{y + _BAR}"/>'
                    f'<text class="told" x="{x(one.at) + 4}" y="{y + 13}">'
                    f"{escape(str(one.members['fault']))}</text>"
                )
    head = f"{conversation.line.carrier}: one call, {len(order)} sessions"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f"<style>{_STYLE}</style><rect width='100%' height='100%' fill='white'/>"
        f'<text x="6" y="20">{escape(head)}</text>{"".join(parts)}</svg>\n'
    )


def _opened(name: tuple[str, int], events: list[Event]) -> float:
    return min(one.at for one in events if one.session == name)
