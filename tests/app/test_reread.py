"""What SIGHUP reads, and which of several counts."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.reread import Readings
from chime_gateway.errors import ConfigError


class ReadingsTests(SynchronousTestCase):
    @given(st.data())
    def test_no_older_settings_come_behind_newer_ones(
        self, data: st.DataObject
    ) -> None:
        """Each reading begins in its turn, and ends whenever, well or not."""
        readings = Readings()
        in_force: list[int] = []
        answered = -1
        hanging: dict[int, Deferred[Any]] = {}

        async def reload(number: int) -> None:
            reading: Deferred[Any] = Deferred()
            hanging[number] = reading
            settings: Any = await readings.read(reading)
            if settings is not None:
                in_force.append(settings)

        number = 0
        for ends in data.draw(st.lists(st.booleans(), max_size=12)):
            if not ends:
                Deferred.fromCoroutine(reload(number))
                number += 1
            elif hanging:
                chosen = data.draw(st.sampled_from(sorted(hanging)))
                count = len(in_force)
                is_good = data.draw(st.booleans())
                reading = hanging.pop(chosen)
                if is_good:
                    reading.callback(chosen)
                else:
                    reading.errback(ConfigError("it is no TOML"))
                is_new = chosen > answered
                answered = max(answered, chosen)
                self.assertEqual(len(in_force) - count, int(is_good and is_new))
        self.assertEqual(in_force, sorted(in_force))
