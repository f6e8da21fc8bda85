"""SIP calls over take-overs: plain processes, and callers on real sockets."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from chime_gateway.app.takeover.retirement import LOOK_SECONDS
from tests.integration.takeover_harness import TakeOverTestCase
from tests.integration.twistd import Twistd
from tests.support.certificates import self_signed
from tests.support.files import temporary_file
from tests.support.ports import MEDIA, free_port
from tests.support.sip_line import SipLine

#: Nothing is judged that is heard here, and programs are started; see tests/run.py.
gives_way = True
seconds = 38

TRANSPORTS = ("udp", "tcp", "tls")


class SipTakeOverTestCase(TakeOverTestCase):
    """
    @ivar calls: of each line.
    """

    calls = 6

    async def sip_gateway(self, *more: str, **env: str) -> tuple[Twistd, Any]:
        self.ports = {name: free_port() for name in TRANSPORTS}
        places = (f"{n}:{p}:interface=127.0.0.1" for n, p in self.ports.items())
        return await self.gateway(
            *more,
            CHIMEGW_SIP_LISTEN=",".join(places),
            CHIMEGW_SIP_ALLOW="127.0.0.0/8",
            CHIMEGW_SIP_CERTIFICATE=temporary_file(self, self_signed()),
            CHIMEGW_RTP_PORTS="-".join(map(str, MEDIA)),
            **env,
        )

    async def line(self, transport: str, name: str) -> SipLine:
        line = SipLine(self.reactor, transport, self.ports[transport], name)
        await line.open()
        self.addCleanup(line.close)
        return line

    async def each(self, asked: Any) -> list[Any]:
        return await gatherResults([Deferred.fromCoroutine(one) for one in asked])


class SipTakeOverTests(SipTakeOverTestCase):
    async def test_no_call_is_lost_over_udp_tcp_and_tls(self) -> None:
        """Also over connections that are as old as the first process."""
        twistd, _ = await self.sip_gateway()
        lines = {name: await self.line(name, f"old-{name}") for name in TRANSPORTS}
        names = [str(number) for number in range(self.calls)]
        everybody = [(line, name) for line in lines.values() for name in names]
        answers = await self.each(line.call(name) for line, name in everybody)
        self.assertEqual(answers, [200] * len(everybody))
        first = {line.tag(name).partition(".")[0] for line, name in everybody}
        self.assertEqual(len(first), 1)
        is_over = False
        seen: list[list[str]] = [[] for _ in TRANSPORTS]

        async def probe(line: SipLine, seen: list[str]) -> None:
            """One new call after the other."""
            while not is_over:
                name = f"new{len(seen)}"
                self.assertEqual(await line.call(name), 200, name)
                seen.append(line.tag(name).partition(".")[0])
                self.assertEqual(await line.hang_up(name), 200, name)
                # A port of media rests after a call, and there are not so many.
                await deferLater(self.reactor, 0.2)

        probing = [
            Deferred.fromCoroutine(probe(line, some))
            for line, some in zip(lines.values(), seen, strict=True)
        ]
        for _ in range(2):
            await self.take_over(twistd)
            again = await self.each(line.invite_again(one) for line, one in everybody)
            self.assertEqual(again, [200] * len(everybody))
        # A call of the newest, and one that is told of by a new connection.
        counts = [len(some) for some in seen]
        await self.until(
            lambda: (
                all(len(some) > c for some, c in zip(seen, counts, strict=True))
                or any(one.called for one in probing)
            )
        )
        is_over = True
        await gatherResults(probing)
        for some in seen:
            self.assertEqual(len(dict.fromkeys(some)), 3)
        byes = await self.each(line.hang_up(name) for line, name in everybody)
        self.assertEqual(byes, [200] * len(everybody))
        self.assertNotIn("Traceback", twistd.text)
        self.assertNotIn('"level": "error"', twistd.text)
        await self.until(lambda: len(self.endings(twistd)) == self.total(seen))
        outcomes = {event["outcome"] for event in self.endings(twistd)}
        self.assertEqual(outcomes, {"completed"})

    def total(self, seen: list[list[str]]) -> int:
        return len(TRANSPORTS) * self.calls + sum(map(len, seen))

    def endings(self, twistd: Twistd) -> list[dict[str, Any]]:
        return [e for e in twistd.events() if e["event"].startswith("call.ended")]

    async def test_what_becomes_of_calls_whose_process_is_lost(self) -> None:
        """Nobody has them any more, and whoever has the new ones says so."""
        twistd, process = await self.sip_gateway()
        lines = {name: await self.line(name, name) for name in TRANSPORTS}
        for line in lines.values():
            self.assertEqual(await line.call("1"), 200)
        await self.take_over(twistd)
        tags = {name: line.tag("1") for name, line in lines.items()}
        os.kill(process.pid, signal.SIGKILL)
        await self.until(lambda: not lines["tcp"].is_open and not lines["tls"].is_open)
        for name, line in lines.items():
            await line.open() if name != "udp" else None
            self.assertEqual(line.tag("1"), tags[name])
            self.assertEqual(await line.hang_up("1"), 481)
            self.assertEqual(await line.call("2"), 200)
            self.assertEqual(await line.hang_up("2"), 200)

    async def test_options_are_the_newest_ones(self) -> None:
        twistd, _ = await self.sip_gateway()
        lines = [await self.line(name, name) for name in TRANSPORTS]
        before = await self.each(line.options("1") for line in lines)
        call = await self.line("tcp", "call")
        self.assertEqual(await call.call("1"), 200)
        await self.take_over(twistd)
        after = await self.each(line.options("2") for line in lines)
        self.assertEqual([status for status, _ in after], [200] * 3)
        generations = {tag.partition(".")[0] for _, tag in (*before, *after)}
        self.assertEqual(len(generations), 2)
        self.assertEqual(len({tag.partition(".")[0] for _, tag in after}), 1)
        self.assertEqual(await call.hang_up("1"), 200)

    async def test_who_stays_for_what_may_come_again_can_go_on(self) -> None:
        """Its last call is over, and it is there still: so nobody is to wait for it."""
        twistd, process = await self.sip_gateway()
        lines = [await self.line(name, name) for name in TRANSPORTS]
        await self.each(line.call("1") for line in lines)
        newer = await self.take_over(twistd)
        self.assertEqual(await self.each(one.hang_up("1") for one in lines), [200] * 3)
        # So long it takes to find that out.
        await deferLater(self.reactor, 3 * LOOK_SECONDS)
        self.assertIsNotNone(process.pid)
        os.kill(newer, signal.SIGKILL)
        await self.until_it_says(twistd, "this process takes them again")
        self.assertEqual(await self.each(line.call("2") for line in lines), [200] * 3)
        self.assertEqual((await self.ask(twistd.port()))["status"], "ok")

    async def test_who_has_the_new_calls_is_lost(self) -> None:
        """The one before reads again, and has its calls still."""
        twistd, _ = await self.sip_gateway()
        lines = [await self.line(name, name) for name in TRANSPORTS]
        await self.each(line.call("1") for line in lines)
        newer = await self.take_over(twistd)
        os.kill(newer, signal.SIGKILL)
        await self.until_it_says(twistd, "this process takes them again")
        self.assertEqual(await self.each(line.call("2") for line in lines), [200] * 3)
        self.assertEqual(await self.each(one.hang_up("1") for one in lines), [200] * 3)
        self.assertEqual(await self.each(one.hang_up("2") for one in lines), [200] * 3)
