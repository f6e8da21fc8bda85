from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.system.service_manager import ServiceManager
from tests.support.files import temporary_folder


class ServiceManagerTests(SynchronousTestCase):
    def listening(self, address: str) -> socket.socket:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        end.bind(address)
        end.settimeout(5)
        self.addCleanup(end.close)
        return end

    def test_it_is_notified_by_a_path_or_an_abstract_name(self) -> None:
        path = str(temporary_folder(self) / "notify")
        name = f"@chimegw-test-{id(self)}"
        for given, bound in ((path, path), (name, "\0" + name[1:])):
            end = self.listening(bound)
            manager = ServiceManager(given)
            manager.ready("generation abc")
            manager.reloading()
            manager.main_process(7, "now 7")
            manager.stopping()
            told = [end.recv(500).decode() for _ in range(4)]
            self.assertEqual(told[0], "READY=1\nSTATUS=generation abc")
            self.assertRegex(told[1], r"\ARELOADING=1\nMONOTONIC_USEC=\d+\Z")
            self.assertEqual(told[2], "MAINPID=7\nSTATUS=now 7")
            self.assertEqual(told[3], "STOPPING=1")

    def test_a_missing_or_full_socket_does_not_block(self) -> None:
        folder = temporary_folder(self)
        for address in ("", "@", "/no/such/socket", str(folder), "x" * 500, "a\0b"):
            self.assertFalse(ServiceManager(address).tell("READY=1"))
        self.listening(str(folder / "notify"))
        manager = ServiceManager(str(folder / "notify"))
        for _ in range(10_000):
            if not manager.tell("x" * 1000):
                break
        else:
            self.fail("somebody takes all")
