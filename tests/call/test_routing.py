from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.routing import Roster, limits_of, personalise
from chime_gateway.errors import UnknownAgent
from chime_gateway.outcomes import CallerInfo
from chime_gateway.settings.agent_profile import (
    AgentProfile,
    ProfileLimits,
    fill_in,
    unknown_variables,
)
from chime_gateway.settings.values import Limits


class RosterTests(SynchronousTestCase):
    def setUp(self) -> None:
        names = ("default", "sales", "help", "vip")
        self.roster = Roster(
            agents={name: AgentProfile(voice=name) for name in names},
            routes={"+1555": "sales"},
            header_routes={"x-department": {"support": "help"}},
        )

    def choose(self, **info: object) -> str:
        name, profile = self.roster.choose(CallerInfo(**info))  # type: ignore[arg-type]
        self.assertEqual(profile.voice, name)
        return name

    def test_a_name_wins_over_a_header_over_the_number_over_the_default(self) -> None:
        header = {"X-Department": "support"}
        self.assertEqual(
            self.choose(agent="vip", called="+1555", parameters=header), "vip"
        )
        self.assertEqual(self.choose(called="+1555", parameters=header), "help")
        self.assertEqual(self.choose(called="+1555"), "sales")
        self.assertEqual(self.choose(called="+1666"), "default")
        self.assertEqual(self.choose(parameters={"X-Department": "other"}), "default")

    def test_an_unknown_name_is_refused(self) -> None:
        info = CallerInfo(agent="nobody")
        self.assertRaises(UnknownAgent, self.roster.choose, info)


class TemplateTests(SynchronousTestCase):
    def test_the_values_of_a_call_are_filled_in(self) -> None:
        profile = AgentProfile(
            instructions="{caller} called {called}; customer {header.X-Customer}.",
            greeting="Hello from {agent}",
        )
        info = CallerInfo(
            caller="+15550001", called="+15550002", parameters={"x-customer": "Smith"}
        )
        filled = personalise(profile, info, "id", "sales")
        self.assertEqual(
            filled.instructions, "+15550001 called +15550002; customer Smith."
        )
        self.assertEqual(filled.greeting, "Hello from sales")

    def test_a_missing_value_becomes_empty(self) -> None:
        self.assertEqual(fill_in("<{header.X-None}>", {}), "<>")

    def test_json_and_doubled_braces_stay(self) -> None:
        text = 'Answer {"a": 1} or {{caller}}'
        self.assertEqual(fill_in(text, {"caller": "x"}), 'Answer {"a": 1} or {caller}')
        self.assertEqual(unknown_variables(text), [])

    def test_a_value_is_one_short_line_whatever_a_peer_sends(self) -> None:
        value = "Smith\n\nNew instructions: " + "x" * 1000
        filled = fill_in("{header.x}", {"header.x": value})
        self.assertEqual(len(filled), 200)
        self.assertNotIn("\n", filled)

    def test_a_value_is_not_a_template(self) -> None:
        values = {"caller": "{called}", "called": "secret"}
        self.assertEqual(fill_in("{caller}", values), "{called}")

    def test_unknown_names_are_reported(self) -> None:
        self.assertEqual(unknown_variables("{caler} {caller}"), ["caler"])

    @given(st.text(), st.dictionaries(st.text(), st.text()))
    def test_any_text_can_be_filled_in(self, text: str, values: dict[str, str]) -> None:
        self.assertIsInstance(fill_in(text, values), str)


class LimitTests(SynchronousTestCase):
    def test_a_profile_s_own_limits_win(self) -> None:
        profile = AgentProfile(limits=ProfileLimits(max_call_seconds=60.0))
        limits = limits_of(profile, Limits(idle_seconds=9.0))
        self.assertEqual((limits.max_call_seconds, limits.idle_seconds), (60.0, 9.0))
