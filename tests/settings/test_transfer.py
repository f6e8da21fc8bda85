"""The table C{[transfer]}, and the targets that it allows."""

from __future__ import annotations

from tests.support.settings import ConfigTestCase

TARGET = """
[agents.default]
tools = ["transfer_call"]
targets = ["office"]
[targets.office]
address = "{address}"
"""
FALLBACK = """
[agents.default]
fallback = "office"
[targets.office]
address = "{address}"
"""


class TransferSettingsTests(ConfigTestCase):
    def test_a_list_and_limits_are_read(self) -> None:
        text = '[transfer]\nallow = ["+49", "sip:@pbx.example"]\nper_hour = 10\n'
        found = self.load(toml=text + "per_target_per_hour = 5").transfer
        self.assertEqual(found.allow, ("+49", "sip:@pbx.example"))
        self.assertEqual((found.per_hour, found.per_target_per_hour), (10, 5))
        self.assertEqual(self.load().transfer.allow, ())

    def test_invalid_values_are_named(self) -> None:
        for text, word in (
            ('allow = ["49x"]', "transfer.allow: '49x'"),
            ('allow = "+49"', "transfer.allow"),
            ("per_hour = 0", "transfer.per_hour: must be >= 1, got 0"),
            ("per_minute = 1", "unknown key per_minute"),
        ):
            self.refused(word, toml=f"[transfer]\n{text}\n")

    def test_a_target_that_is_not_allowed_is_named(self) -> None:
        for template in (TARGET, FALLBACK):
            for address in ("+19005551234", "sip:+449098765@pbx.example"):
                self.refused(
                    "targets.office",
                    "premium",
                    "[transfer] allow",
                    toml=template.format(address=address),
                )
            allow = '[transfer]\nallow = ["+49"]\n'
            good = allow + template.format(address="+49301234")
            self.assertEqual(self.load(toml=good).transfer.allow, ("+49",))
            bad = allow + template.format(address="+44301234")
            self.refused("targets.office", "does not have it", toml=bad)
        named = '[transfer]\nallow = ["+1900"]\n'
        self.load(toml=named + TARGET.format(address="+19005551234"))
