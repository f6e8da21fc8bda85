"""The gateway's RTP during a call of SIPp, as tshark sees it."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

from tests.integration.programs import Program, missing
from tests.integration.test_sipp import SippTestCase
from tests.support.ports import MEDIA


class WireTests(SippTestCase):
    skip = missing("sipp", "tshark")
    media: ClassVar = f"{MEDIA[0]}-{MEDIA[1]}"
    capture_options: ClassVar = ["-i", "lo", "-f", f"udp portrange {media}"]

    async def test_numbers_have_no_gaps_and_packets_are_20_ms_apart(self) -> None:
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        capture = str(Path(folder) / "rtp.pcap")
        tshark = Program(
            self.reactor,
            ["tshark", *self.capture_options, "-w", capture, "-a", "duration:20"],
            folder,
        )
        await self.until(lambda: "Capturing" in tshark.output or not tshark.is_running)
        if not tshark.is_running:
            self.assertIn("ermission", tshark.output)
            raise SkipTest("tshark may not capture here: root only")
        await self.pause(1.0)
        await self.sipp("basic", calls=3)
        tshark.stop("INT")
        await tshark.ended
        fields = (
            "frame.time_epoch",
            "rtp.ssrc",
            "rtp.p_type",
            "rtp.seq",
            "rtp.timestamp",
        )
        reader = Program(
            self.reactor,
            [
                *("tshark", "-r", capture, "-d", f"udp.port=={self.media},rtp"),
                *("-Y", "rtp", "-T", "fields", *(f"-e{field}" for field in fields)),
            ],
            folder,
        )
        await reader.ended
        streams: dict[str, list[tuple[float, int, int]]] = {}
        # Other lines of tshark have no tabs.
        for line in filter(lambda line: "\t" in line, reader.output.splitlines()):
            seconds, ssrc, kind, number, timestamp = line.split("\t")
            self.assertEqual(kind, "0")
            packet = float(seconds), int(number), int(timestamp)
            streams.setdefault(ssrc, []).append(packet)
        self.assertEqual(len(streams), 3, reader.output)
        for packets in streams.values():
            self.assertGreater(len(packets), 60)
            apart = []
            for (then, *before), (now, *after) in pairwise(packets):
                self.assertEqual(after[0], before[0] + 1 & 0xFFFF)
                # If the machine stalled, time went on without packets.
                ticks = after[1] - before[1] & 0xFFFFFFFF
                self.assertEqual(ticks % 160, 0)
                self.assertLess(ticks, 8000 * 60)
                apart.append(now - then)
            # Other loads may delay some packets; a wrong beat would affect most.
            self.assertApproximates(statistics.median(apart), 0.020, 0.005)
