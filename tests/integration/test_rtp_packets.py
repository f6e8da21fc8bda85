"""Our RTP while SIPp calls, as tshark sees it."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

from tests.integration.programs import Program, missing
from tests.integration.test_sipp import SippTestCase
from tests.support.ports import MEDIA

#: It asserts milliseconds on a real clock; see tests/run.py.
is_alone = True


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
        ports = f"udp.port=={self.media},rtp"
        reader = Program(
            self.reactor,
            ["tshark", "-r", capture, "-d", ports, "-q", "-z", "rtp,streams"],
            folder,
        )
        await reader.ended
        rows = [
            line.split()
            for line in reader.output.splitlines()
            if re.match(r"\s*\d+\.\d+", line) and "g711U" in line
        ]
        self.assertEqual(len(rows), 3, reader.output)
        for row in rows:
            line = " ".join(row)
            packets, lost = re.search(r"g711U (\d+) (-?\d+) \(", line).groups()  # type: ignore[union-attr]
            self.assertGreater(int(packets), 60)
            self.assertEqual(int(lost), 0, line)
            numbers = [
                float(n) for n in line.partition(")")[2].split() if _is_number(n)
            ]
            # Min, mean and max delta, then jitter: min, mean, max.
            self.assertApproximates(numbers[1], 20.0, 1.0)
            self.assertLessEqual(numbers[4], 2.0, line)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None
