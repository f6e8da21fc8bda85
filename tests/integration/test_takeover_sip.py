"""SIP calls during take-overs, with callers on real sockets."""

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

#: Checks no audio quality and starts programs, so it may be slow; see tests/run.py.
gives_way = True
seconds = 38

TRANSPORTS = ("udp", "tcp", "tls")


class SipTakeOverTestCase(TakeOverTestCase):
    """
    A test with a SIP gateway that has successors.

    @ivar calls: the calls of each line.
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
        """Also over connections that the first process accepted."""
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
            """Place one new call after the other."""
            while not is_over:
                name = f"new{len(seen)}"
                self.assertEqual(await line.call(name), 200, name)
                seen.append(line.tag(name).partition(".")[0])
                self.assertEqual(await line.hang_up(name), 200, name)
                # A media port rests after a call, and there are only a few.
                await deferLater(self.reactor, 0.2)

        probing = [
            Deferred.fromCoroutine(probe(line, some))
            for line, some in zip(lines.values(), seen, strict=True)
        ]
        for _ in range(2):
            await self.take_over(twistd)
            again = await self.each(line.invite_again(one) for line, one in everybody)
            self.assertEqual(again, [200] * len(everybody))
        # A call of the newest process, and requests over a new connection.
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

    async def test_calls_of_a_lost_process_are_answered_with_481(self) -> None:
        """They are lost, and the newest process answers requests for them."""
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

    async def test_options_are_answered_by_the_newest_process(self) -> None:
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

    async def test_a_process_that_waits_for_repeated_messages_can_take_over_again(
        self,
    ) -> None:
        """Its last call has ended but it still runs, so it takes over at once."""
        twistd, process = await self.sip_gateway()
        lines = [await self.line(name, name) for name in TRANSPORTS]
        await self.each(line.call("1") for line in lines)
        newer = await self.take_over(twistd)
        self.assertEqual(await self.each(one.hang_up("1") for one in lines), [200] * 3)
        # The time in which it could notice that it has no calls.
        await deferLater(self.reactor, 3 * LOOK_SECONDS)
        self.assertIsNotNone(process.pid)
        os.kill(newer, signal.SIGKILL)
        await self.until_it_says(twistd, "this process takes them again")
        self.assertEqual(await self.each(line.call("2") for line in lines), [200] * 3)
        self.assertEqual((await self.ask(twistd.port()))["status"], "ok")

    async def test_the_predecessor_of_a_lost_process_takes_new_calls_again(
        self,
    ) -> None:
        """Its predecessor takes new calls again, and still has its own."""
        twistd, _ = await self.sip_gateway()
        lines = [await self.line(name, name) for name in TRANSPORTS]
        await self.each(line.call("1") for line in lines)
        newer = await self.take_over(twistd)
        os.kill(newer, signal.SIGKILL)
        await self.until_it_says(twistd, "this process takes them again")
        self.assertEqual(await self.each(line.call("2") for line in lines), [200] * 3)
        self.assertEqual(await self.each(one.hang_up("1") for one in lines), [200] * 3)
        self.assertEqual(await self.each(one.hang_up("2") for one in lines), [200] * 3)
