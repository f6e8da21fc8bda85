"""
Makes, starts and stops the carriers of a gateway, except media streams.  Each is
imported only if it is configured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.web.resource import IResource

from chime_gateway.call.table import CallTable
from chime_gateway.carriers.media_stream.credentials import StreamAuth
from chime_gateway.carriers.media_stream.door import Door
from chime_gateway.http.metrics import Metrics
from chime_gateway.media.metronome import Metronome
from chime_gateway.net.batch import BatchReader
from chime_gateway.net.generations.kin import Kin
from chime_gateway.net.generations.sockets import SharedSockets
from chime_gateway.net.strangers.connections import Connections
from chime_gateway.settings.values import GatewaySettings

if TYPE_CHECKING:
    from chime_gateway.carriers.call_control import SmaControl
    from chime_gateway.carriers.kinesis.carrier import KinesisCarrier
    from chime_gateway.carriers.sip.carrier import SipCarrier
    from chime_gateway.carriers.webrtc.carrier import WebRtcCarrier
    from chime_gateway.net.aws.api import AwsApi


class Carriers:
    """
    The configured carriers, and call control.

    @ivar control: controls calls at the SIP media application; C{None}, like the
        others: not configured.
    """

    _log = Logger()

    def __init__(
        self,
        settings: GatewaySettings,
        calls: CallTable,
        *,
        metrics: Metrics,
        reactor: Any,
        sockets: SharedSockets,
        batch: BatchReader,
        kin: Kin,
        connections: Connections,
        metronome: Metronome,
        aws: AwsApi | None,
    ) -> None:
        self.control: SmaControl | None = None
        self.kinesis: KinesisCarrier | None = None
        self.sip: SipCarrier | None = None
        self.webrtc: WebRtcCarrier | None = None
        self._settings = settings
        self._calls = calls
        self._metrics = metrics
        self._reactor = reactor
        self._sockets = sockets
        self._batch = batch
        self._kin = kin
        self._connections = connections
        self._metronome = metronome
        if aws is not None and settings.aws.sip_media_application_id:
            self._join_application(aws)
        if settings.sip.listen:
            self._join_sip()
        if settings.webrtc.listen:
            self._join_webrtc()

    def _join_application(self, aws: AwsApi) -> None:
        """Make call control, and the Kinesis carrier, which needs it."""
        from chime_gateway.carriers.call_control import SmaControl
        from chime_gateway.carriers.kinesis.carrier import KinesisCarrier

        settings, clock = self._settings, self._reactor
        self.control = SmaControl(
            aws,
            settings.aws.sip_media_application_id,
            clock,
            updates_per_second=settings.aws.updates_per_second,
            calls_per_second=settings.aws.calls_per_second,
        )
        self._metrics.control = self.control
        if settings.kinesis.queue_url:
            self.kinesis = KinesisCarrier(
                settings.kinesis,
                self._calls,
                aws=aws,
                control=self.control,
                clock=clock,
                observe_reply=self._metrics.replied,
            )
            self._metrics.kinesis = self.kinesis
            self._metrics.carriers.add(self.kinesis.traits.name)

    def _join_sip(self) -> None:
        from chime_gateway.carriers.sip.carrier import SipCarrier

        sip = self._settings.sip
        if sip.requires_srtp or any(one.transport == "tls" for one in sip.listen):
            # Imported now, so that no call has to wait for it: 5 MB, some 10 ms.
            import chime_gateway.rtp.srtp  # noqa: F401

        self.sip = SipCarrier(
            self._settings.sip,
            self._calls,
            reactor=self._sockets,
            metronome=self._metronome,
            wall_time=time.time,
            batch=self._batch,
            kin=self._kin,
            transfers=self.control,
            destinations=self._calls.destinations,
            is_told=self._connections.summary.allows,
        )
        self._metrics.sip = self.sip
        self._metrics.carriers.add(self.sip.traits.name)

    def _join_webrtc(self) -> None:
        from chime_gateway.carriers.webrtc.carrier import WebRtcCarrier

        self.webrtc = WebRtcCarrier(
            self._settings.webrtc,
            self._calls,
            reactor=self._sockets,
            metronome=self._metronome,
            wall_time=time.time,
            batch=self._batch,
            kin=self._kin,
            connections=self._connections,
        )
        self._metrics.webrtc = self.webrtc
        self._metrics.carriers.add(self.webrtc.traits.name)

    def pages(self, auth: StreamAuth) -> IResource | None:
        """Return the resource below C{/webrtc}; C{None} without WebRTC."""
        if self.webrtc is None:
            return None
        name = self.webrtc.traits.name
        return self.webrtc.pages(Door(auth, self._calls, name, needs_credentials=True))

    # -- life ------------------------------------------------------------------

    def start(self, watch_certificate: Callable[[Any], object]) -> None:
        """
        Start the carriers that listen.  Kinesis starts when this process takes every
        new call.

        @param watch_certificate: called with each certificate in use.
        @raise ConfigError: a port or a certificate cannot be used.
        """
        if self.sip is not None:
            self.sip.start()
            for certificate in self.sip.transports.certificates:
                watch_certificate(certificate)
            self._tell("SIP", self.sip.transports.ports)
        if self.webrtc is not None:
            self.webrtc.start()
            self._tell("WebRTC", self.webrtc.ports.ports)

    def _tell(self, what: str, ports: Any) -> None:
        for listener, port in ports:
            self._log.info(
                "{what} over {transport} on {address}",
                what=what,
                transport=listener.transport,
                address=str(port.getHost()),
            )

    def pause(self) -> None:
        """Another process takes the new calls."""
        if self.kinesis is not None:
            self.kinesis.pause()

    def resume(self) -> None:
        """This process takes the new calls again."""
        if self.kinesis is not None:
            self.kinesis.resume()

    def stopping(self) -> list[Callable[[], object]]:
        """Return the functions that stop the carriers after the last call."""
        found = (self.sip, self.webrtc, self.kinesis, self.control)
        return [one.stop for one in found if one is not None]
