"""Which tests a change calls for, in a small tree."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import check
from tests.support.files import temporary_folder

TREE = {
    "tests/test_layering.py": "",
    "tests/test_top.py": "",
    "tests/support/fakes.py": "from chime_gateway.media import pump",
    "tests/call/test_call.py": "from chime_gateway.call.call import Call",
    "tests/call/test_keypad.py": "",
    "tests/media/test_pump.py": "import chime_gateway.media.pump",
    "tests/carriers/sip/test_leg.py": "import tests.support.fakes",
    "tests/carriers/sip/transport/test_tls.py": "",
    "tests/wire/torture/a.txt": "",
    "tests/wire/test_torture.py": "",
    "tests/integration/test_calls.py": "import chime_gateway.media.pump",
}


class TestsOfChangesTests(SynchronousTestCase):
    def setUp(self) -> None:
        root = temporary_folder(self)
        for name, content in TREE.items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        self.patch(check, "ROOT", root)

    def of(self, *changes: str) -> set[str]:
        found = check.tests_of([Path(change) for change in changes])
        self.assertIn(Path("tests/test_layering.py"), found)
        return {str(file.relative_to("tests")) for file in found} - {"test_layering.py"}

    def test_a_module_calls_for_all_tests_of_its_folder(self) -> None:
        both = {"call/test_call.py", "call/test_keypad.py"}
        self.assertEqual(self.of("chime_gateway/call/call.py"), both)
        # One that is new, or gone, as well.
        self.assertEqual(self.of("chime_gateway/call/new.py"), both)

    def test_below_it_as_well_and_above_it_where_there_are_none(self) -> None:
        tls = "carriers/sip/transport/test_tls.py"
        both = {"carriers/sip/test_leg.py", tls}
        self.assertEqual(self.of("chime_gateway/carriers/sip/leg.py"), both)
        self.assertEqual(self.of("chime_gateway/carriers/sip/sdp/a.py"), both)
        self.assertEqual(self.of("chime_gateway/carriers/sip/transport/tls.py"), {tls})

    def test_whoever_imports_it_even_through_what_tests_share(self) -> None:
        found = self.of("chime_gateway/media/pump.py")
        self.assertEqual(found, {"media/test_pump.py", "carriers/sip/test_leg.py"})

    def test_a_test_calls_for_itself_unless_it_has_sockets(self) -> None:
        self.assertEqual(self.of("tests/call/test_keypad.py"), {"call/test_keypad.py"})
        self.assertEqual(self.of("tests/integration/test_calls.py"), set())

    def test_a_module_at_the_top_calls_for_tests_of_its_name(self) -> None:
        self.assertEqual(self.of("chime_gateway/top.py"), {"test_top.py"})

    def test_a_file_that_tests_read_calls_for_those_beside_it(self) -> None:
        self.assertEqual(self.of("tests/wire/torture/a.txt"), {"wire/test_torture.py"})

    def test_other_requirements_call_for_all_without_sockets(self) -> None:
        units = [
            name for name in TREE if "/test_" in name and "integration" not in name
        ]
        self.assertEqual(len(self.of("setup.cfg")), len(units) - 1)

    def test_a_document_calls_for_nothing(self) -> None:
        self.assertEqual(self.of("README.md", "docs/reference/log.md"), set())
