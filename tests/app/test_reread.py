"""Settings that SIGHUP changes, and overlapping readings of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from attrs import evolve, fields
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.reread import Readings, change, left
from chime_gateway.errors import ConfigError
from chime_gateway.settings.values import (
    GatewaySettings,
    Limits,
    WebhookSettings,
)


class ChangeTests(SynchronousTestCase):
    def composition(self) -> Any:
        """A fake composition without calls."""
        holders = [SimpleNamespace(limits=None) for _ in range(3)]
        admission = SimpleNamespace(limits=None, load=holders[0])
        self.hooks: list[Any] = []
        return SimpleNamespace(
            calls=SimpleNamespace(
                roster=None, destinations=SimpleNamespace(), admission=admission
            ),
            lines=holders[1],
            agents=SimpleNamespace(
                health=SimpleNamespace(forget_profiles=lambda: None),
                expect=lambda _: None,
            ),
            call_storage=SimpleNamespace(
                store=SimpleNamespace(
                    webhooks=SimpleNamespace(change=self.hooks.extend)
                )
            ),
            change_secrets=lambda _: None,
            sip=None,
            carriers=SimpleNamespace(webrtc=None),
        )

    @given(st.sets(st.sampled_from([one.name for one in fields(Limits)])))
    def test_a_changed_limit_is_in_effect_or_named_as_left(
        self, changed: set[str]
    ) -> None:
        composition = self.composition()
        running = GatewaySettings(listen=(), deployments=())
        others = {name: 3 * getattr(running.limits, name) + 1 for name in changed}
        new = evolve(running, limits=evolve(running.limits, **others))
        now = change(composition, running, new)
        calls = composition.calls
        for one in (calls, calls.admission, calls.admission.load, composition.lines):
            self.assertEqual(one.limits, now.limits)
        self.assertEqual(composition.agents.limits, now.limits)
        kept = {f"limits.{name}" for name in changed} & set(left(now, new))
        self.assertLessEqual(kept, {"limits.start_seconds", "limits.max_strangers"})
        for name in changed:
            is_kept = f"limits.{name}" in kept
            was = getattr(running.limits, name)
            self.assertEqual(getattr(now.limits, name) == was, is_kept)
        self.assertEqual(len(left(now, new)), len(kept))

    def test_webhooks_get_new_secrets_but_never_lose_one(self) -> None:
        def hook(name: str, secret: str, bearer: str = "") -> WebhookSettings:
            return WebhookSettings(
                name=name, url="http://x.example/", secret=secret, bearer=bearer
            )

        base = GatewaySettings(listen=(), deployments=())
        running = evolve(base, webhooks=(hook("a", "1", "1"), hook("b", "1")))
        new = evolve(base, webhooks=(hook("a", "2", "2"), hook("b", ""), hook("c", "")))
        now = change(self.composition(), running, new)
        self.assertEqual(now.webhooks, (hook("a", "2", "2"), hook("b", "1")))
        self.assertEqual(tuple(self.hooks), now.webhooks)
        self.assertEqual(left(now, new), ["webhooks"])


class ReadingsTests(SynchronousTestCase):
    @given(st.data())
    def test_older_settings_never_replace_newer_ones(self, data: st.DataObject) -> None:
        """Readings begin in order, and end in any order, with success or failure."""
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
