"""The local address towards a peer."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.system.own_address import local_address_to


class OwnAddressTests(SynchronousTestCase):
    def test_it_is_of_the_same_family(self) -> None:
        self.assertEqual(local_address_to("127.0.0.1"), "127.0.0.1")
        self.assertEqual(local_address_to("::1"), "::1")
        self.assertNotIn(":", local_address_to("192.0.2.1"))
