"""
A caller that breaks the rules: its SIP messages have odd headers and descriptions, in
any order, but are correct often enough for calls to be established.

It has no socket, and uses no code of the gateway: it reads messages by regular
expressions.
"""

from __future__ import annotations

import random
import re

METHODS = (
    *("INVITE",) * 5,
    *("ACK",) * 4,
    *("BYE", "CANCEL", "UPDATE", "INFO", "OPTIONS", "PRACK", "NOTIFY"),
    *("REFER", "SUBSCRIBE", "FROBNICATE"),
)

#: Hosts in URIs and Via; the last ones are invalid.
ODD_HOSTS = (
    *("[::ffff:127.0.0.1]", "[::ffff:198.51.100.7]", "[::1]", "[2001:db8::7]"),
    *("[fe80::1%25lo]", "[fe80::1%lo]", "[::]", "[ff02::1]"),
    *("224.0.0.1", "255.255.255.255", "127.255.255.255", "0.0.0.0", "203.0.113.9"),
    *("localhost", "nowhere.invalid", "a_b", "1.2.3", "999.1.1.1", "010.0.0.1"),
    *("", "[", "]", "@", "x" * 300),
)
ODD_PORTS = (
    *("0", "1", "65534", "65535", "65536", "70000", "-1", "00000070000"),
    *("9" * 30, "9" * 3000, "", "x", "\N{ARABIC-INDIC DIGIT THREE}", "5060.5"),
)
ODD_CSEQ = (*("0", "1", "2147483647", "2147483648", "-1", "9" * 3000, "x", "", "1 2"),)
ODD_TAGS = ("", "a;b", '"', "nobody", "t" * 400, "\N{EURO SIGN}")
ODD_BRANCHES = ("", "z9hG4bK", "old", "z9hG4bK\N{EURO SIGN}", "z9hG4bK=", "z" * 300)
ODD_LINES = (
    *("Session-Expires: 90;refresher=uas", "Session-Expires: ", "Session-Expires: 9"),
    *("Session-Expires: 999999999;refresher=uac", "Min-SE: x", "Supported: timer"),
    *("Require: timer", "Require: 100rel", "Max-Forwards: 0", "Max-Forwards: x"),
    *("Content-Encoding: gzip", "X-Gw-Hop: 99999999999999", "Timestamp: 5"),
    *("Reason: ", "RAck: 1 1 INVITE", "Content-Disposition: session;handling=optional"),
    *("Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKb", "Contact: *", "To: <sip:twice@b>"),
    *("Allow: REFER, UPDATE", "Allow: ,", "\N{SNOWMAN}: x", "no colon", " folded"),
)
ODD_ATTRIBUTES = (
    *("rtcp:65536", "rtcp:0", "rtcp:-1", "rtcp:65535", "rtcp:9 IN IP4 224.0.0.1"),
    *("rtcp:9 IN IP6 ::ffff:198.51.100.9", "rtcp:00000070000", "rtcp:x", "rtcp:"),
    *("sendonly", "recvonly", "inactive", "sendrecv", "ptime:0", "ptime:9999"),
    *("ptime:30", "maxptime:5", "rtpmap:0 PCMU/8000", "rtpmap:97 PCMU/8000"),
    *("rtpmap:999 PCMA/8000", "rtpmap:0 telephone-event/8000", "rtpmap:0 CN/8000"),
    *("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40, "crypto:", "rtcp-mux"),
    *("fmtp:101 0-15", "setup:actpass", ":", ""),
)
ODD_FORMATS = (
    *("0", "8", "13", "97", "101", "127", "128", "999", "00001000", "-1", "x"),
    *("9" * 5000, "\N{ARABIC-INDIC DIGIT THREE}"),
)
ODD_PROTOCOLS = ("RTP/SAVP", "rtp/avp", "UDP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "")

_ALL = re.DOTALL | re.MULTILINE

#: Parameters of a Via besides the branch.
VIA_PARAMETERS = (
    *("rport", "rport=", "rport=1", "rport=99999", "received=192.0.2.1", "received="),
    *("maddr=224.0.0.1", "ttl=x", "alias", "RPORT", "Received=::1"),
    *('x="a;received=b"', 'x="a;rport;b\\""', 'x="', 'received="::1"', "x=;y"),
)


class UnrulyCaller:
    """
    The caller.

    @param here: its true signalling address; C{media}: that of its RTP.
    @param there: the gateway's address.
    @param name: makes its Call-IDs, tags and branches unique.
    @ivar oddness: the probability that something is odd, 0 to 1; chosen anew for each
        message.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        here: tuple[str, int],
        media: tuple[str, int],
        there: str,
        name: str,
        transport: str = "UDP",
        via_parameters: tuple[str, ...] = VIA_PARAMETERS,
    ) -> None:
        self._rng = rng
        self._here = here
        self._media = media
        self._there = there
        self._name = name
        self._transport = transport
        self._via_parameters = via_parameters
        self._cseq = 0
        self._to_tag = ""
        self._branches: list[str] = []
        self._sent: list[str] = []
        self.oddness = 0.0

    # -- what it says --------------------------------------------------------------

    def next(self) -> bytes:
        """Return the next message."""
        rng = self._rng
        self.oddness = rng.choice((0.0, 0.0, 0.03, 0.1, 0.4))
        if self._sent and rng.random() < 0.15:
            text = rng.choice(self._sent)  # repeat one, however old
        else:
            text = self._request(rng.choice(METHODS))
            self._sent = [*self._sent[-5:], text]
        return self._mangled(text).encode("utf-8", "replace")

    def opening(self) -> bytes:
        """Return an INVITE in which only the description and the target are odd."""
        self.oddness = 0.0
        text = self._request("INVITE", oddness_of_body=self._rng.choice((0, 0.1, 0.5)))
        self._sent.append(text)
        return text.encode("utf-8", "replace")

    def heard(self, data: bytes) -> list[bytes]:
        """
        Receive a message from the gateway.

        @return: the replies, perhaps none.
        """
        rng, text = self._rng, data.decode("utf-8", "replace")
        found = re.search(r"^To:.*;tag=([^;\r\n]+)", text, re.MULTILINE)
        if text.startswith("SIP/2.0"):
            makes_dialog = re.match(r"SIP/2.0 (18|2).*^CSeq: \d+ INVITE", text, _ALL)
            if found is not None and makes_dialog:
                self._to_tag = found[1]
            if re.match(r"SIP/2.0 2.*^CSeq: \d+ INVITE", text, _ALL):
                cseq = re.search(r"^CSeq: (\d+)", text, re.M)
                if found is not None and cseq is not None and rng.random() < 0.7:
                    self.oddness = rng.choice((0.0, 0.0, 0.1))
                    ack = self._request("ACK", to_tag=found[1], cseq=cseq[1])
                    return [ack.encode("utf-8", "replace")]
            return []
        if text.startswith("ACK") or rng.random() < 0.4:
            return []
        return [self._answer(text).encode("utf-8", "replace")]

    # -- inside --------------------------------------------------------------------

    def _odd(self, right: str, odd: tuple[str, ...]) -> str:
        return self._rng.choice(odd) if self._rng.random() < self.oddness else right

    def _host(self, host: str) -> str:
        return self._odd(f"[{host}]" if ":" in host else host, ODD_HOSTS)

    def _uri(self, host: str, port: int, user: str = "u") -> str:
        rng = self._rng
        scheme = self._odd("sip", ("sips", "tel", "SIP", "http", ""))
        tail = self._odd("", (";lr", ";transport=tcp", ";transport=tls", "?a=b", ";"))
        text = f"{scheme}:{user}@{self._host(host)}"
        if rng.random() < 0.8:
            text += f":{self._odd(str(port), ODD_PORTS)}"
        return text + tail

    def _via(self, branch: str) -> str:
        rng = self._rng
        host, port = self._here
        text = f"SIP/2.0/{self._transport} {self._host(host)}"
        if rng.random() < 0.9:
            text += f":{self._odd(str(port), ODD_PORTS)}"
        parameters = [f"branch={branch}"]
        parameters += rng.sample(self._via_parameters, rng.choice((0, 0, 1, 2)))
        rng.shuffle(parameters)
        return ";".join((text, *parameters))

    def _request(
        self,
        method: str,
        *,
        to_tag: str | None = None,
        cseq: str = "",
        oddness_of_body: float | None = None,
    ) -> str:
        rng = self._rng
        here, there = self._here, self._there
        if not cseq:
            if method not in ("ACK", "CANCEL") and rng.random() < 0.8:
                self._cseq += 1
            cseq = str(self._cseq)
        branch = f"z9hG4bK{self._name}{rng.randrange(10**6)}"
        if self._branches and (method in ("ACK", "CANCEL") or rng.random() < 0.1):
            branch = rng.choice(self._branches[-2:])
        self._branches.append(branch)
        if to_tag is None:
            chance = {"CANCEL": 0.0, "INVITE": 0.5}.get(method, 0.9)
            to_tag = self._to_tag if rng.random() < chance else ""
        to_tag = self._odd(to_tag, ODD_TAGS)
        from_tag = self._odd(f"t{self._name}", ODD_TAGS)
        lines = [
            f"{method} {self._uri(there, 5060, 'desk')} SIP/2.0",
            f"Via: {self._via(self._odd(branch, ODD_BRANCHES))}",
            "Max-Forwards: 70",
            f'From: "A" <{self._uri(*here)}>'
            + (f";tag={from_tag}" if from_tag else ""),
            f"To: <{self._uri(there, 5060)}>" + (f";tag={to_tag}" if to_tag else ""),
            f"Call-ID: {self._odd(f'c{self._name}', ('', 'c d', 'c' * 600))}",
            f"CSeq: {self._odd(cseq, ODD_CSEQ)} {method}",
        ]
        if method in ("INVITE", "UPDATE") or rng.random() < 0.2:
            lines.append(f"Contact: <{self._uri(*here)}>")
        for name in ("Record-Route", "Route"):
            if rng.random() < self.oddness:
                lines.append(f"{name}: <{self._uri(*here)};lr>")
        if rng.random() < self.oddness * 2:
            lines.append(rng.choice(ODD_LINES))
        body = ""
        if method in ("INVITE", "UPDATE", "PRACK", "ACK") and rng.random() < 0.8:
            if oddness_of_body is not None:
                self.oddness = oddness_of_body
            body = self._description()
            lines.append(f"Content-Type: {self._odd('application/sdp', ('x/y', ''))}")
        elif method in ("INFO", "NOTIFY"):
            body = rng.choice(("", "Signal=5\r\n", "SIP/2.0 200 OK", "\0"))
            kind = rng.choice(("application/dtmf-relay", "message/sipfrag;version=2.0"))
            lines.append(f"Content-Type: {kind}")
        size = len(body.encode("utf-8", "replace"))
        lines.append(f"Content-Length: {self._odd(str(size), ODD_PORTS)}")
        if rng.random() < self.oddness / 4:
            del lines[rng.randrange(len(lines))]
        return "\r\n".join((*lines, "", body))

    def _description(self) -> str:
        rng = self._rng
        host, port = self._media
        odd_hosts = tuple(h.strip("[]") for h in ODD_HOSTS)

        def connection() -> str:
            address = self._odd(host, odd_hosts)
            kind = "IP6" if ":" in address else "IP4"
            return f"c=IN {self._odd(kind, ('IP4', 'IP6', 'X'))} {address}"

        def formats() -> str:
            return " ".join(
                self._odd(right, ODD_FORMATS)
                for right in rng.sample(["0", "8", "101"], 3)
            )

        lines = ["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", connection(), "t=0 0"]
        for _ in range(rng.choice((1, 1, 1, 2)) if self.oddness else 1):
            kind = self._odd("audio", ("video", "application", ""))
            number = self._odd(str(port), ODD_PORTS)
            protocol = self._odd("RTP/AVP", ODD_PROTOCOLS)
            lines.append(f"m={kind} {number} {protocol} {formats()}")
            if rng.random() < self.oddness:
                lines.append(connection())
            lines.append("a=rtpmap:101 telephone-event/8000")
            for _ in range(rng.choice((0, 1, 2)) if self.oddness else 0):
                lines.append(f"a={rng.choice(ODD_ATTRIBUTES)}")
        if rng.random() < self.oddness / 4:
            del lines[rng.randrange(len(lines))]
        return "\r\n".join((*lines, ""))

    def _answer(self, request: str) -> str:
        """Return an answer to a request of the gateway."""
        rng = self._rng
        self.oddness = rng.choice((0.0, 0.0, 0.1, 0.4))
        status = rng.choice(("200", "200", "200", "100", "180", "481", "491", "503"))
        lines = [f"SIP/2.0 {self._odd(status, ('99', '401', '407', '700', ''))} X"]
        for line in request.partition("\r\n\r\n")[0].split("\r\n")[1:]:
            if line.startswith(("Via", "From", "To", "Call-ID", "CSeq")):
                lines.append(line)
        lines.append(f"Contact: <{self._uri(*self._here)}>")
        body = ""
        if "CSeq" in request and " INVITE" in request and rng.random() < 0.8:
            body = self._description()
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body.encode('utf-8', 'replace'))}")
        return self._mangled("\r\n".join((*lines, "", body)))

    def _mangled(self, text: str) -> str:
        """Change, remove or duplicate a few characters at times."""
        rng = self._rng
        if rng.random() >= self.oddness / 4:
            return text
        for _ in range(rng.choice((1, 2, 5))):
            at = rng.randrange(max(1, len(text)))
            kind = rng.randrange(4)
            if kind == 0:
                text = text[:at] + text[at + 1 :]
            elif kind == 1:
                text = text[:at] + rng.choice('\0\r\n <>;=,:"\\%\xff') + text[at:]
            elif kind == 2:
                text = text[:at] + text[at : at + 30] + text[at:]
            else:
                text = text[: at + 1]
        return text
