from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.store.writing import aside as module
from chime_gateway.store.writing.aside import Aside
from tests.support.files import temporary_folder


class AsideTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.aside = Aside(temporary_folder(self) / "aside.jsonl")

    def test_lines_are_kept_until_they_are_replaced(self) -> None:
        self.assertEqual(self.aside.lines(), [])
        self.assertTrue(self.aside.add([b"a\n", b"b"]))
        self.assertTrue(self.aside.add_entry(("c", {})))
        self.assertEqual(self.aside.lines(), [b"a", b"b", b'["c",{}]'])
        self.aside.replace([b"b"])
        self.assertEqual(self.aside.lines(), [b"b"])
        self.assertEqual(self.aside.path.stat().st_mode & 0o077, 0)
        self.aside.replace([])
        self.assertFalse(self.aside.path.exists())

    def test_its_size_is_limited(self) -> None:
        self.patch(module, "MAX_BYTES", 10)
        self.assertTrue(self.aside.add([b"12345678"]))
        self.assertFalse(self.aside.add([b"12345678"]))
        self.assertEqual(self.aside.lines(), [b"12345678"])
