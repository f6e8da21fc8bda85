"""
Connects the parts of one gateway.

This is the only module that imports all of them.  Parts that only some gateways use
are imported when they are needed.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from chime_gateway.agents.deployments import Deployment
from chime_gateway.agents.line.lines import Lines
from chime_gateway.app.agents import join_agents
from chime_gateway.app.call_storage import CallStorage
from chime_gateway.app.carriers import Carriers
from chime_gateway.app.loading import SampleWork
from chime_gateway.app.originate import Originator
from chime_gateway.app.takeover.calls_of_all import CallsOfAll
from chime_gateway.call.admission.admission import Admission
from chime_gateway.call.admission.load import Load
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.carriers.media_stream.credentials import StreamAuth
from chime_gateway.carriers.media_stream.listener import StreamListener, StreamResource
from chime_gateway.codec.prompt import prepare
from chime_gateway.http.api.api_request import ApiContext
from chime_gateway.http.api.elsewhere import Elsewhere
from chime_gateway.http.api.idempotency import IdempotencyKeys
from chime_gateway.http.api.key_file import KeyFile, keys_path
from chime_gateway.http.api.resource import Api
from chime_gateway.http.credentials import AdminToken
from chime_gateway.http.gathered import Gathered
from chime_gateway.http.metrics import Metrics
from chime_gateway.http.site import Content, GatewaySite, build_site
from chime_gateway.media.metronome import Metronome
from chime_gateway.net.batch import BatchReader
from chime_gateway.net.generations.kin import Kin
from chime_gateway.net.generations.sockets import SharedSockets
from chime_gateway.net.http_tools import HttpTools
from chime_gateway.net.signed_post import SignedPost
from chime_gateway.net.strangers.connections import Connections
from chime_gateway.net.strangers.summary import Summary
from chime_gateway.net.system.certificates import Certificates
from chime_gateway.net.system.descriptors import room_for, shortage
from chime_gateway.net.system.resolver import Resolver, system_addresses
from chime_gateway.net.system.threads import ThreadQueue, Threads
from chime_gateway.settings.values import DeploymentSettings, GatewaySettings
from chime_gateway.store.rows import Whose
from chime_gateway.wire.media_stream.dialect import StreamDialect
from chime_gateway.wire.media_stream.raw import RawStream
from chime_gateway.wire.media_stream.twilio import TwilioStream

if TYPE_CHECKING:
    from chime_gateway.net.aws.api import AwsApi


#: Concurrent reads of the database and of files by the API, and how long a request
#: waits for one: as long as for any statement.
_MOST_READS: Final = 10
_READ_SECONDS: Final = 5.0

#: Concurrent DNS look-ups of webhooks, tools and trunks; deployments have their own.
_MOST_LOOKUPS: Final = 16

#: Its connection or three media sockets, the agent's connection, a recording.
_DESCRIPTORS_OF_A_CALL: Final = 5


def prepare_sounds(settings: GatewaySettings) -> None:
    """Prepare sounds before a call needs them; this may take a while."""
    for profile in settings.agents.values():
        sounds = (profile.filler_sound, profile.apology_sound)
        prepare(sound for sound in sounds if sound is not None)


def roster_of(settings: GatewaySettings) -> Roster:
    return Roster(
        agents=settings.agents,
        routes=settings.routes,
        header_routes=settings.header_routes,
    )


class Composition:
    """
    The connected parts of one gateway.

    @ivar certificates: the certificates of listeners.
    @ivar names: resolves all names except those of deployments.
    @ivar aws: C{None}: AWS is not used; C{control} and C{sip} likewise.
    @ivar carriers: all carriers except media streams.
    @ivar kin: the other processes of this gateway.
    @param metrics: collects figures from the parts.
    @param sockets: the listening sockets of the gateway.
    @raise ConfigError: a setting is invalid.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        deployments: Sequence[DeploymentSettings],
        reactor: Any,
        metrics: Metrics,
        kin: Kin,
        sockets: SharedSockets,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._sockets = sockets
        self._keys: IdempotencyKeys | None = None
        self._gathered = Gathered(metrics.text, kin)
        self.kin = kin
        self._metrics = metrics
        self._batch = BatchReader(reactor)
        self.summary = Summary(reactor)
        self.certificates = Certificates(self._threads("certificates", 1).run, reactor)
        limits = settings.limits
        room = room_for(limits.max_strangers, limits.max_calls, _DESCRIPTORS_OF_A_CALL)
        self.connections = Connections(reactor, room, self.summary)
        metrics.strangers = self.connections
        metrics.timers = lambda: len(reactor.getDelayedCalls())
        self.aws: AwsApi | None = None
        self.names = self._new_resolver(_MOST_LOOKUPS)
        load = Load(limits, reactor.seconds, time.process_time)

        def late(seconds: float) -> None:
            metrics.tick_was_late(seconds)
            load.tick_was_late(seconds)

        metronome = Metronome(reactor, late)
        self.agents, self.credentials = join_agents(
            *(deployments, limits),
            reactor=reactor,
            threads=self._threads,
            names=self._new_resolver(2 * len(deployments) + 2),
            metrics=metrics,
            metronome=metronome,
            batch=self._batch,
        )
        if settings.aws.sip_media_application_id or settings.recordings.is_s3:
            self.aws = self._new_aws()
        post = SignedPost(reactor, reactor, time.time)
        self.call_storage = CallStorage(
            settings, reactor, self.in_thread, post, self.aws, kin
        )
        metrics.call_storage = self.call_storage
        self.lines = Lines(self.agents, limits)
        self.calls = CallTable(
            self.lines,
            roster=roster_of(settings),
            limits=settings.limits,
            clock=reactor,
            metronome=metronome,
            measures=metrics,
            tools=HttpTools(post, reactor.seconds, metrics.tool_used),
            wall_time=time.time,
            new_id=lambda: uuid.uuid4().hex,
            recordings=self.call_storage.recordings,
            listeners=self.call_storage.listeners,
            capture=self.call_storage.captures,
            agents_fault=self.agents.health.fault,
            shown=self.call_storage.guard.guard_record,
            shortage=shortage,
            transfer=settings.transfer,
            is_told=self.summary.allows,
            admission=Admission(limits, load),
            begins=SampleWork(self.in_thread).expect,
        )
        metrics.admission = self.calls.admission
        metrics.calls = self.calls.calls
        self.calls_of_all = CallsOfAll(lambda: len(self.calls.calls()), kin, reactor)
        self.calls.admission.elsewhere = self.calls_of_all.elsewhere
        metrics.destinations = self.calls.destinations
        self.carriers = carriers = Carriers(
            settings,
            self.calls,
            metrics=metrics,
            reactor=reactor,
            sockets=sockets,
            batch=self._batch,
            kin=kin,
            connections=self.connections,
            metronome=metronome,
            aws=self.aws,
        )
        self.control, self.sip = carriers.control, carriers.sip
        self.originator = Originator(
            self.calls,
            sip=self.sip,
            control=self.control,
            has_trunk=settings.sip.trunk is not None,
            from_number=settings.aws.from_number,
        )

    def serve(self) -> None:
        """This process takes every new call from now on."""
        self.call_storage.serve()
        self.agents.expect(self._settings.agents.values())
        if self._settings.probes:
            is_first = not self.kin.is_successor
            self.agents.probe.ask(self._settings.agents.values(), is_first=is_first)
        if self._keys is not None:
            self._keys.read_again()

    def retire(self) -> None:
        """Another process takes the new calls."""
        self._site.retire()
        self.calls_of_all.retire()
        self.carriers.pause()

    def resume(self) -> None:
        """This process takes the new calls again."""
        self._site.resume()
        self.calls_of_all.resume()
        self.carriers.resume()

    def change_deployments(self, deployments: Sequence[DeploymentSettings]) -> None:
        of = self.credentials.of
        self.agents.change([Deployment(d, of(d)) for d in deployments])

    def change_secrets(self, settings: GatewaySettings) -> None:
        """Change the secrets of streams and the admin token; open connections stay."""
        self._auth.shared_secret = settings.shared_secret
        self._auth.twilio_auth_token = settings.twilio_auth_token
        for token in self._admin_tokens:
            token.change(settings.admin_token)

    def _threads(self, name: str, most: int) -> Threads:
        return Threads(name, most, self._reactor.callFromThread, self._reactor)

    def _new_resolver(self, most_lookups: int) -> Resolver:
        threads = self._threads("names", most_lookups)
        return Resolver(partial(threads.run, system_addresses), self._reactor)

    def in_thread(
        self, function: Callable[..., object], *args: object
    ) -> Deferred[Any]:
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, function, *args)

    def _new_aws(self) -> AwsApi:
        # Imported when used: botocore would add 5 MB and 130 ms to every start.
        from chime_gateway.net.aws.api import AwsApi

        return AwsApi(
            region=self._settings.aws.region,
            in_thread=self.in_thread,
            reactor=self._reactor,
            clock=self._reactor,
            jitter=random.random,
        )

    # -- over HTTP ---------------------------------------------------------------

    def site(
        self,
        health: Content,
        ready: Content,
    ) -> GatewaySite:
        """Build the web site: media streams, the API, and what L{build_site} adds."""
        settings = self._settings
        self._auth = auth = StreamAuth(
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
                self.connections,
                self._batch,
            )
            self._metrics.carriers.add(listener.traits.name)
            return StreamResource(listener, self._reactor)

        token = AdminToken(settings.admin_token)
        api = self._api()
        self._admin_tokens = (token, api.token)
        self._site = build_site(
            health=health,
            ready=ready,
            metrics=self._metrics_of_all,
            stream=door(TwilioStream, False),
            raw_stream=door(RawStream, True),
            webrtc=self.carriers.pages(auth),
            api=api,
            reactor=self._reactor,
            token=token,
            connections=self.connections,
            public_address=settings.public_address,
        )
        return self._site

    def _metrics_of_all(self) -> bytes | Deferred[bytes]:
        gathered = self._gathered
        if gathered.is_alone:
            return gathered.own()
        return Deferred.fromCoroutine(gathered.text())

    def _api(self) -> Api:
        store = self.call_storage.store
        recordings = self.call_storage.recordings
        in_reactor = self._reactor.callFromThread
        reads = ThreadQueue(
            "api", _MOST_READS, in_reactor, self._reactor, _READ_SECONDS
        )
        context = ApiContext(
            token=self._settings.admin_token,
            whose=Whose("", self.kin.generation) if store is None else store.whose,
            calls=self.calls,
            events=self.call_storage.live,
            in_thread=reads.run,
            originate=self.originator.originate,
            records=store,
            guard=self.call_storage.guard,
            elsewhere=Elsewhere(self.kin),
            known=lambda request: self.connections.known(request.channel.transport),
            is_told=self.summary.allows,
        )
        if recordings is not None:
            context.recording_path = recordings.path_of
            context.live_recording = recordings.live_path
        if (uploads := self.call_storage.uploads) is not None:
            context.recording_link = uploads.link
        if store is not None:
            threads = self._threads("keys", 16)
            path = keys_path(
                Path(store.settings.state_directory), store.settings.instance
            )
            is_alone = not self.kin.is_successor
            keys = KeyFile(path, threads.run, is_alone=is_alone)
            self._keys = context.keys = IdempotencyKeys(time.time, keys)
        return Api(context)
