from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import socket
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from attrs import evolve
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver
from twisted.plugin import CachedDropin, CachedPlugin, IPlugin, getPlugins
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.gateway import GatewayService
from chime_gateway.app.twistd import Options, makeService
from tests.support.files import temporary_folder

#: The folder of the plugin in the checkout.
PLUGINS = Path(__file__).parents[2] / "twisted" / "plugins"

AZURE = {
    "AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com",
    "AZURE_OPENAI_DEPLOYMENT": "gpt-realtime",
    "AZURE_OPENAI_API_KEY": "azure-key-1234",
}


class Reactor(MemoryReactorClock):
    """A fake reactor with the threads and names that a start needs."""

    nameResolver: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.threads = ThreadPool(0, 10)
        self.listeners: list[socket.socket] = []
        self.waker, self.mainLoop = Mock(), Mock()

    def getThreadPool(self) -> ThreadPool:
        return self.threads

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        self.callLater(0, function, *arguments)

    def listenTCP(self, *where: Any, **more: Any) -> Any:
        port: Any = super().listenTCP(*where, **more)
        # A take-over duplicates its descriptor.
        listener = socket.socket()
        self.listeners.append(listener)
        port.fileno, port.connected = listener.fileno, True
        port.startReading = port.stopReading = lambda: None
        return port

    def installNameResolver(self, resolver: Any) -> Any:
        before, self.nameResolver = self.nameResolver, resolver
        return before


class OptionsTests(SynchronousTestCase):
    def reactor(self) -> Reactor:
        reactor = Reactor()

        def close() -> None:
            for listener in reactor.listeners:
                listener.close()

        self.addCleanup(close)
        return reactor

    def setUp(self) -> None:
        for name in list(os.environ):
            if name.startswith(("AZURE_", "CHIMEGW_")):
                self.patch_environ(name, None)

    def patch_environ(self, name: str, value: str | None) -> None:
        old = os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value

        def restore() -> None:
            os.environ.pop(name, None)
            if old is not None:
                os.environ[name] = old

        self.addCleanup(restore)

    def azure(self) -> None:
        for name, value in AZURE.items():
            self.patch_environ(name, value)

    def parse(self, *words: str) -> Options:
        options = Options()
        options.parseOptions(list(words))
        return options

    def test_a_setting_that_cannot_work_is_one_line_that_names_it(self) -> None:
        for words, name in (
            ([], "AZURE_OPENAI_ENDPOINT"),
            (["--port", "x"], "port"),
            (["--config", "/nonexistent.toml"], "--config /nonexistent.toml"),
            (["--simulate", "--listen", "tcp:1"], "--listen tcp:1"),
            (["--no-such-option"], "no-such-option"),
        ):
            with self.subTest(words=words):
                error = self.assertRaises(usage.UsageError, self.parse, *words)
                self.assertIn(name, str(error))
                self.assertNotIn("\n", str(error))

    def test_check_prints_the_settings_without_secrets_and_stops(self) -> None:
        self.azure()
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        error = self.assertRaises(SystemExit, self.parse, "--check", "--port", "9")
        self.assertEqual(error.code, 0)
        shown = json.loads(out.getvalue())
        self.assertEqual(shown["listen"], ["tcp:9:interface=127.0.0.1"])
        self.assertNotIn("azure-key-1234", out.getvalue())

    def test_check_ends_with_its_result_and_names_a_deployment_without_a_key(
        self,
    ) -> None:
        self.azure()
        said: list[str] = []
        for key in (AZURE["AZURE_OPENAI_API_KEY"], ""):
            self.patch_environ("AZURE_OPENAI_API_KEY", key)
            error = io.StringIO()
            self.patch(sys, "stdout", io.StringIO())
            self.patch(sys, "stderr", error)
            self.assertRaises(SystemExit, self.parse, "--check", "--port", "9")
            self.assertIn("no faults; ", error.getvalue().splitlines()[-1])
            said.append(error.getvalue())
        self.assertEqual(["has no key" in one for one in said], [False, True])

    def test_deployments_are_probed_at_the_start_if_requested(self) -> None:
        self.azure()
        asks = [self.parse(*words).settings.probes for words in ((), ("--probe",))]
        self.assertEqual(asks, [False, True])

    def test_listen_is_repeatable(self) -> None:
        words = [f"--listen=tcp:{n}:interface=127.0.0.1" for n in (1, 2)]
        listen = self.parse("--simulate", *words).settings.listen
        self.assertEqual(len(listen), 2)

    def test_the_service_listens_and_its_log_is_json(self) -> None:
        self.azure()
        reactor = self.reactor()
        options = self.parse("--port", "1234")
        options.settings = evolve(options.settings, store=None)
        service: Any = makeService(options, reactor)
        self.assertIsInstance(service, GatewayService)
        application: Any = Componentized()
        application.addService = lambda _: None
        service.setServiceParent(_Parent(application))
        self.assertIsNotNone(application.getComponent(ILogObserver))
        service.startService()
        self.assertEqual(reactor.tcpServers[0][0], 1234)
        # All threads exist: starting one without memory would block for ever.
        self.assertEqual(reactor.threads.min, reactor.threads.max)
        self.assertEqual(service.health()[0], 200)
        self.assertEqual(service.ready(), (200, {"status": "ready"}))
        service.calls.drain()
        self.assertEqual(service.ready()[0], 503)

    def test_a_bad_endpoint_stops_the_start_in_one_line(self) -> None:
        self.azure()
        options = self.parse("--insecure", "--listen", "nonsense:1")
        options.settings = evolve(options.settings, store=None)
        service = makeService(options, self.reactor())
        error = self.assertRaises(SystemExit, service.startService)
        self.assertIn("--listen nonsense:1", str(error))
        self.assertNotIn("\n", str(error))


class PluginTests(SynchronousTestCase):
    def makers(self, folder: Path) -> Any:
        """Return the plugins that C{twistd} would find in a folder."""
        import twisted.plugins
        from twisted.application.service import IServiceMaker

        name = "twisted.plugins.chimegw_plugin"
        loaded = sys.modules.pop(name, None)
        self.patch(twisted.plugins, "__path__", [str(folder)])
        makers = list(getPlugins(IServiceMaker))
        sys.modules.pop(name)
        if loaded is not None:
            sys.modules[name] = loaded
        return makers

    def test_twistd_knows_the_command(self) -> None:
        (maker,) = self.makers(PLUGINS)
        self.assertEqual(maker.tapname, "chimegw")
        self.assertIs(maker.options, Options)

    def test_twistd_knows_it_with_the_plugin_cache_of_an_older_version(self) -> None:
        from twisted.application.service import IServiceMaker

        folder = temporary_folder(self)
        plugin = shutil.copy(PLUGINS / "chimegw_plugin.py", folder)
        # As 0.1.0 wrote it; Twisted uses it unless the plugin is newer.
        listed = CachedDropin("twisted.plugins.chimegw_plugin", None)
        CachedPlugin(listed, "chime_gateway", None, [IPlugin, IServiceMaker])
        cache = folder / "dropin.cache"
        cache.write_bytes(pickle.dumps({"chimegw_plugin": listed}))
        later = os.stat(plugin).st_mtime + 3600
        os.utime(cache, (later, later))
        (maker,) = self.makers(folder)
        self.assertEqual(maker.tapname, "chimegw")
        self.assertIs(maker.options, Options)


class _Parent:
    """A fake application that a service can be added to."""

    def __init__(self, components: Componentized) -> None:
        self.setComponent = components.setComponent

    def addService(self, service: object) -> None:
        """Do nothing."""
