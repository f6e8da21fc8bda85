"""
The running gateway: who is joined to whom, what starts, in which order it stops.

The only module that knows everybody.
"""

from __future__ import annotations

import gc
import json
import random
import secrets
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

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
from chime_gateway.agents.deployments import AzureFleet, Deployment, endpoint_for
from chime_gateway.app.call_storage import Kept
from chime_gateway.app.log import json_log_observer
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.carriers.media_stream.credentials import StreamAuth
from chime_gateway.carriers.media_stream.listener import StreamListener, StreamResource
from chime_gateway.errors import CallRefused, ConfigError, NoWayOut
from chime_gateway.http.api.asked import ApiContext
from chime_gateway.http.api.resource import Api
from chime_gateway.http.metrics import Metrics
from chime_gateway.http.site import build_site
from chime_gateway.media.metronome import Metronome
from chime_gateway.net.batch import BatchReader
from chime_gateway.net.http_tools import HttpTools
from chime_gateway.net.signed_post import SignedPost
from chime_gateway.settings.agents import transcription_advice
from chime_gateway.settings.retirements import retirement_notices
from chime_gateway.settings.sip import advice
from chime_gateway.settings.values import DeploymentSettings, GatewaySettings
from chime_gateway.wire.media_stream.dialect import StreamDialect
from chime_gateway.wire.media_stream.raw import RawStream
from chime_gateway.wire.media_stream.twilio import TwilioStream

if TYPE_CHECKING:
    from chime_gateway.carriers.call_control import SmaControl
    from chime_gateway.carriers.kinesis.carrier import KinesisCarrier
    from chime_gateway.carriers.sip.carrier import SipCarrier
    from chime_gateway.net.aws.api import AwsApi

#: What SIGHUP does not change.
_FIXED: Final = (
    *("listen", "deployments", "shared_secret", "admin_token", "public_address"),
    *("limits", "store", "recordings", "webhooks", "sip", "aws", "kinesis"),
)

#: Closing handshakes of the last calls get this long at the very end.
_CLOSING_SECONDS = 0.3


def _roster(settings: GatewaySettings) -> Roster:
    return Roster(
        agents=settings.agents,
        routes=settings.routes,
        header_routes=settings.header_routes,
    )


class GatewayService(MultiService):
    """
    Stop the way a telephone exchange does: refuse new calls, let the running
    ones end for a while, say goodbye and hang up, then close everything else.

    L{MultiService} alone stops all its children at the same moment.

    @ivar ports: what is listened on, once started.
    @param read_again: the settings as they are now, for SIGHUP.
    """

    _log = Logger()

    def __init__(
        self,
        settings: GatewaySettings,
        reactor: Any,
        read_again: Callable[[], GatewaySettings] | None = None,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._reactor = reactor
        self._read_again = read_again
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
        self.kept: Kept

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
        self.kept.start()
        self.site = site = self._site()
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
        for line in (
            *transcription_advice(settings.agents),
            *retirement_notices(settings, date.today()),
        ):
            self._log.warn("{advice}", advice=line)
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
        from chime_gateway.sim.realtime.server import SimulatorFactory
        from chime_gateway.sim.realtime.voices import Parrot

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
        self._in_thread = in_thread
        if settings.aws.sip_media_application_id or settings.recordings.is_s3:
            self.aws = self._new_aws(in_thread)
        post = SignedPost(reactor, reactor, time.time)
        self.kept = Kept(settings, reactor, in_thread, post, self.aws)
        metrics.kept = self.kept
        metronome = Metronome(reactor, metrics.tick_was_late)
        self.calls = CallTable(
            self.fleet,
            roster=_roster(settings),
            limits=settings.limits,
            clock=reactor,
            metronome=metronome,
            measures=metrics,
            tools=HttpTools(post, reactor.seconds, metrics.tool_used),
            wall_time=time.time,
            new_id=lambda: uuid.uuid4().hex,
            recordings=self.kept.recordings,
            listeners=self.kept.listeners,
            capture=self.kept.captures,
        )
        metrics.calls = self.calls.calls
        if self.aws is not None and settings.aws.sip_media_application_id:
            self._compose_aws(self.aws)
        if settings.sip.listen:
            self._compose_sip(metronome)

    def _compose_sip(self, metronome: Metronome) -> None:
        # With what it needs for SRTP it takes 5 MB.
        from chime_gateway.carriers.sip.carrier import SipCarrier

        self.sip = SipCarrier(
            self._settings.sip,
            self.calls,
            reactor=self._reactor,
            metronome=metronome,
            wall_time=time.time,
            batch=self._batch,
            transfers=self.control,
        )
        self.metrics.sip = self.sip
        self.metrics.carriers.add(self.sip.traits.name)

    def _new_aws(self, in_thread: Callable[..., Deferred[Any]]) -> AwsApi:
        # Imported when used: botocore takes 5 MB and 130 ms of every start.
        from chime_gateway.net.aws.api import AwsApi

        return AwsApi(
            region=self._settings.aws.region,
            in_thread=in_thread,
            reactor=self._reactor,
            clock=self._reactor,
            jitter=random.random,
        )

    def _compose_aws(self, aws: AwsApi) -> None:
        from chime_gateway.carriers.call_control import SmaControl
        from chime_gateway.carriers.kinesis.carrier import KinesisCarrier

        settings, reactor = self._settings, self._reactor
        self.control = SmaControl(
            aws,
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
                aws=aws,
                control=self.control,
                clock=reactor,
                observe_reply=self.metrics.replied,
            )
            self.metrics.kinesis = self.kinesis
            self.metrics.carriers.add(self.kinesis.traits.name)

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
            self.metrics.carriers.add(listener.traits.name)
            return StreamResource(listener, self._reactor)

        return build_site(
            health=self.health,
            ready=self.ready,
            metrics=self.metrics.text,
            stream=door(TwilioStream, False),
            raw_stream=door(RawStream, True),
            api=self._api(),
            reactor=self._reactor,
        )

    def _api(self) -> Api:
        store = self.kept.store
        recordings = self.kept.recordings
        context = ApiContext(
            token=self._settings.admin_token,
            instance="" if store is None else store.settings.instance,
            calls=self.calls,
            events=self.kept.live,
            in_thread=self._in_thread,
            originate=self._originate,
            records=store,
            guard=self.kept.guard,
        )
        if recordings is not None:
            context.recording_path = recordings.path_of
        return Api(context)

    async def _originate(
        self, to: str, agent: str, via: str, parameters: Mapping[str, str]
    ) -> dict[str, Any]:
        """
        Have somebody called.

        @raise CallRefused: there is no way, or no room.
        """
        settings = self._settings
        has_trunk = self.sip is not None and settings.sip.trunk is not None
        if via == "trunk" or (not via and has_trunk):
            if self.sip is None:
                raise NoWayOut("there is no SIP (CHIMEGW_SIP_LISTEN)")
            leg = self.sip.dial(to, agent, parameters)
            call_id = next(
                (
                    call.record.call_id
                    for call in self.calls.calls()
                    if call.record.info.carrier_call_id == leg.info.carrier_call_id
                ),
                None,
            )
            return {"call_id": call_id, "via": "trunk", "transaction_id": None}
        number = settings.aws.from_number
        if self.control is None or not number:
            raise NoWayOut(
                "there is neither a [sip.trunk] to dial through, nor a SIP media"
                " application (CHIMEGW_SMA_ID) with [aws] from_number"
            )
        why = self.calls.refusal()
        if why is not None:
            raise CallRefused(why)
        # Both come back as headers of the call.
        arguments = {"agent": agent}
        if parameters:
            arguments["context"] = json.dumps(parameters)
        transaction_id = await self.control.create_call(number, to, arguments)
        return {
            "call_id": None,
            "via": "application",
            "transaction_id": transaction_id,
        }

    def _running(self) -> None:
        """The reactor runs: its own signal handlers are in place."""
        # What lives as long as the process need not be looked at again.
        gc.collect()
        gc.freeze()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._take_over(number)
            signal.signal(
                signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.reload)
            )

    def _take_over(self, number: signal.Signals) -> None:
        """The first signal drains, as Twisted has it; the second ends at once."""
        stop = signal.getsignal(number)
        if not callable(stop):
            return

        def signalled(signum: int, frame: FrameType | None) -> None:
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._hurry))
            stop(signum, frame)

        signal.signal(number, signalled)

    # -- read again ----------------------------------------------------------------

    def reload(self) -> Deferred[None]:
        """Agents and routes as the file has them now; calls that run keep theirs."""
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> None:
        if self._read_again is None:
            return
        try:
            settings = await self._in_thread(self._read_again)
        except ConfigError as exc:
            self._log.error(
                "the settings are as they were, because of the new ones: {why}",
                why=str(exc),
            )
            return
        self.calls.roster = _roster(settings)
        self._log.info(
            "agents and routes were read again", agents=list(settings.agents)
        )
        fixed = [
            name
            for name in _FIXED
            if getattr(settings, name) != getattr(self._settings, name)
        ]
        if fixed:
            self._log.warn(
                "changed, and in force after a restart only: {names}",
                names=", ".join(fixed),
            )

    # -- asked -------------------------------------------------------------------

    def health(self) -> tuple[int, Mapping[str, Any]]:
        return 200, {
            "status": "ok",
            "version": __version__,
            "calls_active": len(self.calls.calls()),
            "uptime_seconds": round(self._reactor.seconds() - self._began, 1),
            "deployments": self.fleet.states(),
            **self.kept.health(),
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
        await self.kept.stop()
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
