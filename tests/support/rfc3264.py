"""
Checks answers, and offers within a session, by RFC 3264; faults are texts.

It is written from the RFC (and RFC 4568, 8866), has its own parser, and uses no code of
the program.
"""

from __future__ import annotations

import re

from attrs import Factory, define

_REVERSE = {
    "sendrecv": ("sendrecv", "sendonly", "recvonly", "inactive"),
    "sendonly": ("recvonly", "inactive"),
    "recvonly": ("sendonly", "inactive"),
    "inactive": ("inactive",),
}
_STATIC = {"0": "PCMU/8000", "8": "PCMA/8000", "3": "GSM/8000", "9": "G722/8000"}


@define
class Line:
    kind: str
    port: int
    protocol: str
    formats: list[str]
    attributes: list[str] = Factory(list)

    def values(self, name: str) -> list[str]:
        start = f"{name}:"
        return [a[len(start) :] for a in self.attributes if a.startswith(start)]

    def encodings(self) -> dict[str, str]:
        """payload type -> ENCODING/rate."""
        names = {number: _STATIC.get(number, "") for number in self.formats}
        for value in self.values("rtpmap"):
            number, _, encoding = value.partition(" ")
            names[number] = encoding.strip().upper().removesuffix("/1")
        return names


@define
class Session:
    origin: list[str]
    attributes: list[str] = Factory(list)
    lines: list[Line] = Factory(list)

    def direction(self, line: Line) -> str:
        for attributes in (line.attributes, self.attributes):
            for one in attributes:
                if one in _REVERSE:
                    return one
        return "sendrecv"


def read(text: str) -> Session:
    session = Session([])
    for line in re.split(r"\r?\n", text):
        kind, _, value = line.partition("=")
        if kind == "o":
            session.origin = value.split()
        elif kind == "m":
            media, port, protocol, *formats = value.split()
            number = int(port.partition("/")[0])
            session.lines.append(Line(media, number, protocol, formats))
        elif kind == "a":
            owner = session.lines[-1] if session.lines else session
            owner.attributes.append(value)
    return session


def answer_faults(offer_text: str, answer_text: str) -> list[str]:
    offer, answer = read(offer_text), read(answer_text)
    faults = _form_faults(answer_text)
    if len(offer.lines) != len(answer.lines):
        return [*faults, "another number of m-lines (section 6)"]
    is_wanted = any(line.port for line in offer.lines)
    if is_wanted and not any(line.port for line in answer.lines):
        faults.append("every stream is refused: that is no answer but a 488")
    for index, (asked, told) in enumerate(zip(offer.lines, answer.lines, strict=True)):
        where = f"m-line {index}: "
        if (asked.kind, asked.protocol) != (told.kind, told.protocol):
            faults.append(where + "another media or transport (section 6)")
        if not told.formats:
            faults.append(where + "no format (RFC 8866 section 5.14)")
        if asked.port == 0 and told.port != 0:
            faults.append(where + "it was offered as off (section 6)")
        if told.port:
            faults += [where + fault for fault in _accepted_faults(asked, told)]
            ours, theirs = answer.direction(told), offer.direction(asked)
            if ours not in _REVERSE[theirs]:
                faults.append(where + f"{ours} in answer to {theirs} (section 6.1)")
    return faults


def _accepted_faults(asked: Line, told: Line) -> list[str]:
    faults = []
    offered, taken = asked.encodings(), told.encodings()
    for number in told.formats:
        if number not in asked.formats:
            faults.append(f"format {number} was not offered (section 6.1)")
        elif taken[number] != offered[number]:
            faults.append(f"format {number} is another encoding (section 6.1)")
    keys = told.values("crypto")
    if told.protocol.startswith("UDP/TLS"):
        faults += _dtls_faults(asked, told)
    elif "SAVP" in told.protocol:
        tags = {tuple(value.split()[:2]) for value in asked.values("crypto")}
        if len(keys) != 1 or tuple(keys[0].split()[:2]) not in tags:
            faults.append("not one of the crypto lines (RFC 4568 section 5.1.2)")
        elif keys[0].split()[2] in [v.split()[2] for v in asked.values("crypto")]:
            faults.append("the other side's key again (RFC 4568 section 6.1)")
    elif keys:
        faults.append("a key without SRTP")
    return faults


#: RFC 4145 section 4.1.
_ROLES = {
    "actpass": ("active", "passive"),
    "active": ("passive",),
    "passive": ("active",),
}


def _dtls_faults(asked: Line, told: Line) -> list[str]:
    """RFC 5763 section 5, RFC 5761 section 5.1.1, RFC 8839 section 4.3.1."""
    faults = []
    if len(told.values("fingerprint")) != 1:
        faults.append("no fingerprint (RFC 5763)")
    roles = told.values("setup")
    if len(roles) != 1 or roles[0] not in _ROLES[asked.values("setup")[0]]:
        faults.append(f"setup {roles} in answer to {asked.values('setup')} (RFC 4145)")
    if "rtcp-mux" in told.attributes and "rtcp-mux" not in asked.attributes:
        faults.append("rtcp-mux was not offered (RFC 5761)")
    if told.values("ice-ufrag") and not asked.values("ice-ufrag"):
        faults.append("ICE was not offered (RFC 8839)")
    return faults


def _form_faults(text: str) -> list[str]:
    """RFC 8866 section 5: which lines, in which order, ended by CRLF."""
    faults = []
    if not text.endswith("\r\n") or "\n" in text.replace("\r\n", ""):
        faults.append("line ends")
    kinds = "".join(line[:1] for line in text.split("\r\n") if line)
    if not re.fullmatch(r"vosc?t(a*)(m(c?)a*)+", kinds):
        faults.append(f"lines {kinds}")
    return faults


def change_faults(before_text: str, after_text: str) -> list[str]:
    """Compare two consecutive descriptions of one side (section 8)."""
    before, after = read(before_text), read(after_text)
    faults = _form_faults(after_text)
    if before.origin[:2] != after.origin[:2]:
        faults.append("another session")
    step = int(after.origin[2]) - int(before.origin[2])
    if step not in (0, 1):
        faults.append(f"the version makes a step of {step}")
    bodies = [text.split("\r\n", 2)[2] for text in (before_text, after_text)]
    if step == 0 and bodies[0] != bodies[1]:
        faults.append("it changed and the version did not")
    return faults


def reoffer_faults(before_text: str, offer_text: str) -> list[str]:
    """Check an offer within a session, after any earlier description (section 8)."""
    before, offer = read(before_text), read(offer_text)
    if len(offer.lines) < len(before.lines):
        return ["an m-line is gone (section 8)"]
    return [
        f"m-line {index} became {now.kind} (section 8.3)"
        for index, (was, now) in enumerate(zip(before.lines, offer.lines, strict=False))
        if was.kind != now.kind and was.port
    ]
