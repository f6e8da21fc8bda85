"""
The life of the service: starts its parts, reloads settings, and stops its parts in
order.

L{chime_gateway.app.compose} connects the parts.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from autobahn.websocket import USES_NVX
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, Logger

from chime_gateway import __version__
from chime_gateway.agents.chooser.health import REFUSED
from chime_gateway.app.call_storage import CallStorage
from chime_gateway.app.compose import Composition, prepare_sounds
from chime_gateway.app.listening import listen, start_simulator
from chime_gateway.app.log.destination import ProcessLog
from chime_gateway.app.preflight.advice import advice, open_doors
from chime_gateway.app.reread import Readings, change, left
from chime_gateway.app.signals import Signals
from chime_gateway.app.takeover.launch import Launch
from chime_gateway.app.takeover.retirement import Retirement
from chime_gateway.app.takeover.takeover import TakeOver
from chime_gateway.call.table import CallTable
from chime_gateway.errors import ConfigError
from chime_gateway.http.metrics import Metrics
from chime_gateway.net.system.main_loop import keep_going
from chime_gateway.net.system.waker import keep
from chime_gateway.settings.values import DeploymentSettings, GatewaySettings

if TYPE_CHECKING:
    from chime_gateway.carriers.sip.carrier import SipCarrier

#: The time at the very end for closing handshakes of the last calls.
_CLOSING_SECONDS = 0.3

#: Reported by /ready until the first probe has ended.
_ASKED = "the deployments are being probed for the first time"

#: A tenth of Python's default.
_SWITCH_SECONDS = 0.0005


class GatewayService(MultiService):
    """
    The service of one process.

    It stops as a telephone exchange does: refuse new calls, let calls in progress end
    for a while, say goodbye and hang up, then close everything else.  (L{MultiService}
    alone would stop all its children at the same moment.)

    @ivar ports: the open ports, once started.
    @ivar composition: once started; C{calls}, C{call_storage} and C{sip} are its parts.
    @param read_again: returns the current settings, for SIGHUP.
    @param log: the application's log, if the service should set it.
    @param launch: how this process was started; C{None}: the service does not own the
        process.
    @param failed: called with the reason if it cannot start.
    """

    _log = Logger()

    def __init__(
        self,
        settings: GatewaySettings,
        reactor: Any,
        read_again: Callable[[], GatewaySettings] | None = None,
        log: ProcessLog | None = None,
        launch: Launch | None = None,
        failed: Callable[[str], object] = lambda why: None,
    ) -> None:
        super().__init__()
        self._process_log = log
        self._settings = settings
        self._reactor = reactor
        self._read_again = read_again
        self._began = reactor.seconds()
        self._launch = launch or Launch()
        self._failed = failed
        self._signals = Signals(
            reactor, self._hurry, self.reload, lambda: self._takeover.ask()
        )
        self.ports: list[IListeningPort] = []
        self._takeover: TakeOver
        self._is_overdue = False
        self._readings = Readings()
        self.metrics = Metrics()
        self.metrics.log = None if log is None else log.thread
        self.composition: Composition
        self.calls: CallTable
        self.call_storage: CallStorage
        self.sip: SipCarrier | None = None

    # -- IService --------------------------------------------------------------

    def setServiceParent(self, parent: object) -> None:
        super().setServiceParent(parent)
        # The application of twistd chooses its log by this component, unless
        # --logger says otherwise.
        if self._process_log is not None and hasattr(parent, "setComponent"):
            parent.setComponent(ILogObserver, self._process_log.observer)

    def startService(self) -> None:
        super().startService()
        if self._process_log is not None:
            # Not earlier: threads do not survive the fork to a daemon.
            self._process_log.thread.start()
        self._takeover = TakeOver(
            self._launch,
            self._settings,
            self._reactor,
            write=None if self._process_log is None else self._process_log.write,
            serve=self._serve,
            retire=self._retire,
            resume=self._resume,
            stop=lambda: self._signals.told(signal.SIGTERM),
        )
        if (log := self._process_log) is not None:
            log.members["process"] = self._takeover.kin.generation
        self._takeover.starting()
        try:
            self._start()
        except ConfigError as exc:
            self._takeover.fault(str(exc))
            self._failed(str(exc))
            # One line and status 1; a ConfigError would be shown as a traceback.
            raise SystemExit(f"chimegw: {exc}") from exc

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    # -- starting --------------------------------------------------------------

    def _start(self) -> None:
        settings = self._settings
        prepare_sounds(settings)
        deployments: Sequence[DeploymentSettings] = settings.deployments
        if settings.simulate:
            port, deployment = start_simulator(
                self._reactor, settings.simulated_transport
            )
            self.ports.append(port)
            deployments = [deployment]
        self._deployments = deployments
        self.composition = composition = Composition(
            settings,
            deployments,
            self._reactor,
            self.metrics,
            self._takeover.kin,
            self._takeover.sockets,
        )
        self.calls, self.call_storage = composition.calls, composition.call_storage
        self.sip = composition.sip
        self._names_before = self._reactor.installNameResolver(composition.names)
        # Start all threads now: without memory for a new thread, Thread.start() would
        # block the reactor for ever.
        pool = self._reactor.getThreadPool()
        pool.adjustPoolsize(minthreads=pool.max)
        keep(self._reactor.waker)
        keep_going(self._reactor)
        self.call_storage.start()
        self.site = site = composition.site(self.health, self.ready)
        self._retirement = Retirement(
            self._reactor,
            lambda: self._settings.limits.takeover_drain_seconds,
            lambda: len(self.calls.calls()),
            lambda: site.open_connections,
            self._retired,
        )
        for description in settings.listen:
            port = listen(
                self._takeover.sockets, description, site, composition.certificates.add
            )
            self.ports.append(port)
            self._log.info("listening on {address}", address=str(port.getHost()))
        composition.carriers.start(composition.certificates.add)
        if self.sip is not None:
            # While it is needed, this process stays, to resume if the newest is lost.
            self._retirement.reasons.append(self.sip.succession.is_needed)
        composition.certificates.start()
        for line in advice(settings, date.today()):
            self._log.warn("{advice}", advice=line)
        self._takeover.started()
        self._signals.started()
        self._reactor.callWhenRunning(self._running)

    def _serve(self, is_old: bool) -> None:
        """
        This process takes every new call from now on.

        @param is_old: the previous process has reloaded its settings since this one
            was started, so this one reloads them, too.
        """
        self.composition.serve()
        kinesis = self.composition.carriers.kinesis
        if kinesis is not None:
            kinesis.start()
            queue = self._settings.kinesis.queue_url
            self._log.info("taking calls from {queue}", queue=queue)
        self._log.info(
            "chime-gateway {version} is ready for calls",
            version=__version__,
            max_calls=self._settings.limits.max_calls,
            deployments=[d.name for d in self._deployments],
            nvx=USES_NVX,
        )
        if is_old:
            self.reload()

    def _running(self) -> None:
        """The reactor runs, and has installed its own signal handlers."""
        if threading.current_thread() is threading.main_thread():
            self._signals.listen()
        # Objects that live as long as the process need no garbage collection.
        gc.collect()
        gc.freeze()
        # The reactor releases the GIL in each system call; a thread that writes records
        # may then keep it for this long, and all calls wait.
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._takeover.running()

    # -- another process -----------------------------------------------------------

    def _retire(self) -> None:
        """Another process takes the new calls; this one finishes its own."""
        self.composition.retire()
        self._retirement.begin()

    def _resume(self) -> None:
        """The other process is lost: take new calls again."""
        self._retirement.cancel()
        self.composition.resume()

    def _retired(self, is_overdue: bool) -> None:
        self._is_overdue = is_overdue
        if self.sip is not None:
            self.sip.succession.lingers = True
        self._reactor.stop()

    # -- read again ----------------------------------------------------------------

    def reload(self) -> Deferred[None]:
        """
        Reload agents, deployments, keys, certificates, and who may call.  Calls in
        progress keep their settings.
        """
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> None:
        read_again = self._read_again
        if read_again is None:
            return
        self._takeover.reloading()
        try:
            await self._read_and_change(read_again)
        finally:
            self._takeover.reloaded()

    async def _read_and_change(self, read_again: Callable[[], GatewaySettings]) -> None:
        def read() -> GatewaySettings:
            settings = read_again()
            prepare_sounds(settings)
            return settings

        settings = await self._readings.read(self.composition.in_thread(read))
        if settings is None:
            return
        self._settings = change(self.composition, self._settings, settings)
        self._takeover.change(self._settings.limits)
        self._log.info(
            "settings reloaded",
            agents=list(settings.agents),
            deployments=[d.name for d in self._settings.deployments],
        )
        names = left(self._settings, settings)
        if names:
            self._log.warn(
                "changed, but in effect only after a restart: {names}",
                names=", ".join(names),
            )
        await self.composition.certificates.read_again()

    # -- asked -------------------------------------------------------------------

    def health(self, *, is_known: bool = False) -> tuple[int, Mapping[str, Any]]:
        return 200, {
            "status": "ok",
            "version": __version__,
            "generation": self._takeover.kin.generation,
            "calls_active": self.composition.calls_of_all.count(),
            "calls_of_older": self.composition.calls_of_all.older(),
            "uptime_seconds": round(self._reactor.seconds() - self._began, 1),
            "deployments": self.composition.agents.health.states(),
            **self.call_storage.health(in_detail=is_known),
        }

    def ready(self, *, is_known: bool = False) -> tuple[int, Mapping[str, Any]]:
        """
        Return status and members of C{/ready}.

        @param is_known: errors of the service or the database are not shown to
            strangers.
        """
        if self._takeover.kin.newest is not None:
            # The request came over an older connection; the newest process is ready.
            return 200, {"status": "ready"}
        agents = self.composition.agents.health
        why = (
            self.calls.refusal()
            or agents.fault(self.calls.roster.agents, in_detail=is_known)
            or self.call_storage.fault(in_detail=is_known)
            or (_ASKED if self.composition.agents.probe.is_open else None)
        )
        faults = agents.profile_faults()
        refused = faults if is_known else dict.fromkeys(faults, REFUSED)
        notes: dict[str, Any] = {"agents": refused} if refused else {}
        notes |= self.call_storage.notes(in_detail=is_known)
        if line := open_doors(self._settings):
            notes["open"] = line
        if why is not None:
            return 503, {"status": "not ready", "reason": why, **notes}
        return 200, {"status": "ready", **notes}

    # -- stopping ------------------------------------------------------------------

    def _hurry(self) -> None:
        self._log.warn("told to stop again: ending all calls at once")
        self._takeover.stopping()
        self.calls.hang_up_all()
        if self.sip is not None:
            self.sip.succession.lingers = False
        self.call_storage.hurry()

    async def _stop(self) -> None:
        self._takeover.stopping()
        self._retirement.cancel()
        seconds = 0.0 if self._is_overdue else self._settings.limits.drain_seconds
        had_calls = bool(self.calls.calls())
        if had_calls:
            self._log.info(
                "draining {calls} calls for {drain_seconds} s",
                calls=len(self.calls.calls()),
                drain_seconds=seconds,
            )
        # The port stays open: /ready answers 503, and streams get a close code.
        if not await self._drained(seconds):
            self._log.warn("the drain time is over: the agents say goodbye")
            self.calls.part_all()
            # Once for the response, once for its playout.
            if not await self._drained(self.calls.goodbye_seconds() * 2):
                self.calls.hang_up_all()
        if had_calls:
            await deferLater(self._reactor, _CLOSING_SECONDS)
        await self._takeover.older_ended()
        composition = self.composition
        steps: list[Callable[[], object]] = [composition.agents.stop]
        steps += [composition.credentials.stop, composition.certificates.stop]
        steps += composition.carriers.stopping()
        steps.append(composition.call_storage.stop)
        if composition.aws is not None:
            steps.append(composition.aws.close)
        if self._takeover.is_newest:
            # Otherwise other processes use them: a Unix socket would lose its path.
            steps += [port.stopListening for port in self.ports]
        steps.append(self._takeover.close)
        self.ports.clear()
        before = self._names_before
        steps.append(composition.summary.stop)
        steps.append(lambda: self._reactor.installNameResolver(before))
        for step in (*steps, super().stopService):
            try:
                await maybeDeferred(step)
            except Exception:
                # Whatever fails here, records are still written.
                self._log.failure("could not stop a part of the gateway")

    async def _drained(self, seconds: float) -> bool:
        try:
            await self.calls.drain().addTimeout(seconds, self._reactor)
        except TimeoutError:
            return False
        return True
