"""
The running gateway: who is joined to whom, what starts, in which order it stops.

The only module that knows everybody.
"""

from __future__ import annotations

import gc
import random
import secrets
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from autobahn.websocket import USES_NVX
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger

from chime_gateway import __version__
from chime_gateway.agents.credentials import credential_for
from chime_gateway.agents.fleet import AzureFleet, Deployment, endpoint_for
from chime_gateway.call.table import CallTable
from chime_gateway.config_sip import advice
from chime_gateway.errors import ConfigError
from chime_gateway.legs.sip import SipCarrier
from chime_gateway.legs.stream_auth import StreamAuth
from chime_gateway.legs.websocket import StreamListener, StreamResource
from chime_gateway.media.metronome import Metronome
from chime_gateway.net.batch import BatchReader
from chime_gateway.ops.http import build_site
from chime_gateway.ops.log import json_log_observer
from chime_gateway.ops.metrics import Metrics
from chime_gateway.settings import DeploymentSettings, GatewaySettings
from chime_gateway.sim.azure import SimulatorFactory
from chime_gateway.sim.voices import Parrot
from chime_gateway.wire.mediastream import RawStream, StreamDialect, TwilioStream

if TYPE_CHECKING:
    from chime_gateway.legs.kinesis import KinesisCarrier
    from chime_gateway.legs.sma_control import SmaControl
    from chime_gateway.net.aws_api import AwsApi

#: Closing handshakes of the last calls get this long at the very end.
_CLOSING_SECONDS = 0.3


class GatewayService(MultiService):
    """
    Stop the way a telephone exchange does: refuse new calls, let the running
    ones end for a while, say goodbye and hang up, then close everything else.

    L{MultiService} alone stops all its children at the same moment.

    @ivar ports: what is listened on, once started.
    """

    _log = Logger()

    def __init__(self, settings: GatewaySettings, reactor: Any) -> None:
        super().__init__()
        self._settings = settings
        self._reactor = reactor
        self._began = reactor.seconds()
        self.ports: list[IListeningPort] = []
        self.metrics = Metrics()
        self._batch = BatchReader(reactor)
        self.fleet: AzureFleet
        self.aws: AwsApi | None = None
        self.control: SmaControl | None = None
        self.sip: SipCarrier | None = None
        self.kinesis: KinesisCarrier | None = None
        self.calls: CallTable

    # -- IService --------------------------------------------------------------

    def setServiceParent(self, parent: Any) -> None:
        super().setServiceParent(parent)
        # The application of twistd chooses its log by this component, unless
        # --logger or --logfile says otherwise.
        if hasattr(parent, "setComponent"):
            parent.setComponent(ILogObserver, json_log_observer(sys.stdout))

    def startService(self) -> None:
        super().startService()
        try:
            self._start()
        except ConfigError as exc:
            # One line and status 1; raised as it is, it would be a traceback.
            raise SystemExit(f"chimegw: {exc}") from exc

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    # -- starting --------------------------------------------------------------

    def _start(self) -> None:
        settings = self._settings
        deployments: Sequence[DeploymentSettings] = settings.deployments
        if settings.simulate:
            deployments = [self._start_simulator()]
        self._compose(deployments)
        site = self._site()
        for description in settings.listen:
            port = self._listen(description, site)
            self.ports.append(port)
            self._log.info("listening on {address}", address=str(port.getHost()))
        if self.sip is not None:
            self._start_sip(self.sip)
        if self.kinesis is not None:
            self.kinesis.start()
            queue = settings.kinesis.queue_url
            self._log.info("taking calls from {queue}", queue=queue)
        if not settings.shared_secret and not settings.twilio_auth_token:
            self._log.warn(
                "no CHIMEGW_SHARED_SECRET: whoever reaches the port may call"
            )
        self._log.info(
            "chime-gateway {version} is ready for calls",
            version=__version__,
            max_calls=settings.limits.max_calls,
            deployments=[d.name for d in deployments],
            nvx=USES_NVX,
        )
        self._reactor.callWhenRunning(self._running)

    def _start_sip(self, sip: SipCarrier) -> None:
        sip.start()
        for listener, port in sip.transports.ports:
            self._log.info(
                "SIP over {transport} on {address}",
                transport=listener.transport,
                address=str(port.getHost()),
            )
        for line in advice(self._settings):
            self._log.warn("{advice}", advice=line)

    def _listen(self, description: str, site: Any) -> IListeningPort:
        try:
            listening = serverFromString(self._reactor, description).listen(site)
        except (ValueError, TypeError, KeyError, OSError) as exc:
            raise ConfigError(f"--listen {description}: {exc}") from exc
        found: list[IListeningPort] = []
        failures: list[Any] = []
        listening.addCallbacks(found.append, failures.append)
        if failures:
            failures[0].trap(CannotListenError, OSError)
            raise ConfigError(f"--listen {description}: {failures[0].value}")
        return found[0]

    def _start_simulator(self) -> DeploymentSettings:
        """The same protocol on loopback, behind a key that only we have."""
        key = secrets.token_hex(16)
        factory = SimulatorFactory(
            Parrot, reactor=self._reactor, api_keys=frozenset({key})
        )
        port: Any = self._listen("tcp:0:interface=127.0.0.1", factory)
        self.ports.append(port)
        self._log.warn("callers talk with the embedded simulator, not with Azure")
        return DeploymentSettings(
            name="simulator",
            endpoint=f"http://127.0.0.1:{port.getHost().port}",
            deployment="simulator",
            api_key=key,
        )

    def _compose(self, deployments: Sequence[DeploymentSettings]) -> None:
        settings, reactor, metrics = self._settings, self._reactor, self.metrics

        def in_thread(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
            return deferToThreadPool(reactor, reactor.getThreadPool(), function, *args)

        self.fleet = AzureFleet(
            [Deployment(d, credential_for(d, in_thread)) for d in deployments],
            reactor=reactor,
            clock=reactor,
            endpoint=lambda url: endpoint_for(reactor, url),
            connect_seconds=settings.limits.agent_connect_seconds,
            jitter=random.random,
            measures=metrics,
            batch=self._batch,
        )
        metronome = Metronome(reactor, metrics.tick_was_late)
        self.calls = CallTable(
            self.fleet,
            profiles=settings.agents,
            routes=settings.routes,
            limits=settings.limits,
            clock=reactor,
            metronome=metronome,
            measures=metrics,
            wall_time=time.time,
            new_id=lambda: uuid.uuid4().hex,
        )
        metrics.calls = self.calls.calls
        if settings.aws.sip_media_application_id:
            self._compose_aws(in_thread)
        if settings.sip.listen:
            self.sip = SipCarrier(
                settings.sip,
                self.calls,
                reactor=reactor,
                metronome=metronome,
                wall_time=time.time,
                batch=self._batch,
                transfers=self.control,
            )
            metrics.sip = self.sip

    def _compose_aws(self, in_thread: Callable[..., Deferred[Any]]) -> None:
        # Imported when used: botocore takes 5 MB and 130 ms of every start.
        from chime_gateway.legs.kinesis import KinesisCarrier
        from chime_gateway.legs.sma_control import SmaControl
        from chime_gateway.net.aws_api import AwsApi

        settings, reactor = self._settings, self._reactor
        self.aws = AwsApi(
            region=settings.aws.region,
            in_thread=in_thread,
            reactor=reactor,
            clock=reactor,
            jitter=random.random,
        )
        self.control = SmaControl(
            self.aws,
            settings.aws.sip_media_application_id,
            reactor,
            updates_per_second=settings.aws.updates_per_second,
            calls_per_second=settings.aws.calls_per_second,
        )
        self.metrics.control = self.control
        if settings.kinesis.queue_url:
            self.kinesis = KinesisCarrier(
                settings.kinesis,
                self.calls,
                aws=self.aws,
                control=self.control,
                clock=reactor,
                observe_reply=self.metrics.replied,
            )
            self.metrics.kinesis = self.kinesis

    def _site(self) -> Any:
        settings = self._settings
        auth = StreamAuth(
            settings.shared_secret,
            settings.twilio_auth_token,
            settings.public_address,
            time.time,
        )

        def door(
            new_dialect: Callable[[], StreamDialect], needs_credentials_early: bool
        ) -> StreamResource:
            listener = StreamListener(
                new_dialect,
                auth,
                self.calls,
                self._reactor,
                settings.limits.start_seconds,
                needs_credentials_early,
                self._batch,
            )
            return StreamResource(listener, self._reactor)

        return build_site(
            health=self.health,
            ready=self.ready,
            metrics=self.metrics.text,
            stream=door(TwilioStream, False),
            raw_stream=door(RawStream, True),
            reactor=self._reactor,
        )

    def _running(self) -> None:
        """The reactor runs: its own signal handlers are in place."""
        # What lives as long as the process need not be looked at again.
        gc.collect()
        gc.freeze()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._take_over(number)

    def _take_over(self, number: signal.Signals) -> None:
        """The first signal drains, as Twisted has it; the second ends at once."""
        stop = signal.getsignal(number)
        if not callable(stop):
            return

        def signalled(signum: int, frame: FrameType | None) -> None:
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._hurry))
            stop(signum, frame)

        signal.signal(number, signalled)

    # -- asked -------------------------------------------------------------------

    def health(self) -> tuple[int, Mapping[str, Any]]:
        return 200, {
            "status": "ok",
            "version": __version__,
            "calls_active": len(self.calls.calls()),
            "uptime_seconds": round(self._reactor.seconds() - self._began, 1),
            "deployments": self.fleet.states(),
        }

    def ready(self) -> tuple[int, Mapping[str, Any]]:
        why = self.calls.refusal() or self.fleet.fault()
        if why is not None:
            return 503, {"status": "not ready", "reason": why}
        return 200, {"status": "ready"}

    # -- stopping ------------------------------------------------------------------

    def _hurry(self) -> None:
        self._log.warn("told to stop again: ending all calls now")
        self.calls.hang_up_all()

    async def _stop(self) -> None:
        limits = self._settings.limits
        had_calls = bool(self.calls.calls())
        if had_calls:
            self._log.info(
                "draining {calls} calls for {drain_seconds} s",
                calls=len(self.calls.calls()),
                drain_seconds=limits.drain_seconds,
            )
        # The port stays open: /ready says 503, and streams get a close code.
        if not await self._emptied(limits.drain_seconds):
            self._log.warn("the time to drain is over: saying goodbye")
            self.calls.part_all()
            # The words, then the playing of them.
            if not await self._emptied(limits.goodbye_seconds * 2):
                self.calls.hang_up_all()
        if had_calls:
            await deferLater(self._reactor, _CLOSING_SECONDS)
        if self.sip is not None:
            await self.sip.stop()
        if self.kinesis is not None:
            await self.kinesis.stop()
        if self.control is not None:
            self.control.stop()
        if self.aws is not None:
            await self.aws.close()
        for port in self.ports:
            await maybeDeferred(port.stopListening)
        self.ports.clear()
        await maybeDeferred(super().stopService)

    async def _emptied(self, seconds: float) -> bool:
        try:
            await self.calls.drain().addTimeout(seconds, self._reactor)
        except TimeoutError:
            return False
        return True
