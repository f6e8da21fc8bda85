"""
What an operator can set, as values.

Nothing here reads a file or the environment (L{chime_gateway.settings} does); a
module that wants a setting takes that setting, not the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeAlias

from attrs import Factory, field, frozen, validators

from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.telephone import normalised
from chime_gateway.settings.webrtc import WebRtcSettings

#: How the audio of a session travels.
WEBSOCKET: Final = "websocket"
WEBRTC: Final = "webrtc"

#: How its events do, where audio goes by WebRTC.
SIDEBAND: Final = "sideband"
CHANNEL: Final = "channel"


@frozen(kw_only=True)
class DeploymentSettings:
    """
    One Azure OpenAI Realtime deployment.

    @ivar endpoint: C{https://RESOURCE.openai.azure.com}.
    @ivar api_key: empty: Microsoft Entra ID.
    @ivar api_version: set: the preview dialect; empty: GA.
    @ivar transport: of audio: C{websocket}, or C{webrtc}.
    @ivar events: over WebRTC: C{sideband}, a WebSocket, or C{channel}, a data channel;
        the preview has no other.
    @ivar webrtc_endpoint: where the preview takes offers:
        C{https://REGION.realtimeapi-preview.ai.azure.com}.
    @ivar priority: lower is tried first.
    @ivar weight: of those with the same priority, one with twice the weight is tried
        first twice as often.
    @ivar requests_per_minute: sessions that the service lets be opened; 0: unknown.
    @ivar tokens_per_minute: that it lets be used; 0 likewise.
    """

    name: str
    endpoint: str
    deployment: str
    api_key: str = field(default="", repr=False)
    api_version: str = ""
    transport: str = WEBSOCKET
    events: str = SIDEBAND
    webrtc_endpoint: str = ""
    priority: int = 1
    weight: float = field(default=1.0, validator=(validators.gt(0), validators.le(1e6)))
    token_scope: str = "https://cognitiveservices.azure.com/.default"
    requests_per_minute: int = field(default=0, validator=validators.ge(0))
    tokens_per_minute: int = field(default=0, validator=validators.ge(0))


@frozen(kw_only=True)
class Limits:
    """
    What is refused or ended, in calls and seconds.

    @ivar max_calls: the next call is refused.
    @ivar max_calls_per_peer: likewise, of one address of the carriers' sides; 0: any
        number.
    @ivar max_calls_per_caller: likewise, of one caller's number; 0: any number.
    @ivar max_cpu: of one core; with more in use calls are refused.
    @ivar max_late_seconds: with a beat that is later, on average, calls are refused.
    @ivar max_apologies: so many callers at once hear why they are refused.
    @ivar max_call_seconds: the agent says goodbye, then the call is ended.
    @ivar idle_seconds: no audio from the caller for so long ends the call.
    @ivar start_seconds: a stream must say C{start} within this time.
    @ivar agent_connect_seconds: the agent must be ready within this time.
    @ivar agent_hedge_seconds: after so long without a session the next deployment is
        tried as well, and the first that is ready has the call; 0: only when the
        one before has failed.
    @ivar agent_silence_seconds: an agent that owes an answer and sends nothing
        for so long, in whichever sessions, is given up; and so is the search for
        another session in mid-call.
    @ivar agent_response_seconds: a session that begins no response for so long while
        one is owed has stalled, and another takes over.
    @ivar agent_first_audio_seconds: so has one that sends nothing of a response, and
    @ivar agent_audio_gap_seconds: one that sends no more of a sentence.
    @ivar agent_rollover_seconds: so long before a session expires the next one is
        prepared, to take over in a pause.
    @ivar drain_seconds: how long running calls may go on after SIGTERM.
    @ivar takeover_seconds: a successor must be ready within this time.
    @ivar takeover_drain_seconds: how long running calls may go on after a successor
        has taken over.
    @ivar goodbye_seconds: how long the agent's last words may take.
    @ivar play_queue_seconds: agent's audio kept for one call; more is dropped.
    @ivar max_strangers: connections over HTTP that have neither a call nor shown the
        admin token; half of them from one address.
    """

    max_calls: int = field(default=200, validator=validators.ge(1))
    max_calls_per_peer: int = field(default=0, validator=validators.ge(0))
    max_calls_per_caller: int = field(default=0, validator=validators.ge(0))
    max_cpu: float = field(default=0.85, validator=validators.gt(0.1))
    max_late_seconds: float = field(default=0.03, validator=validators.gt(0))
    max_apologies: int = field(default=10, validator=validators.ge(0))
    max_call_seconds: float = field(default=7200.0, validator=validators.gt(0))
    idle_seconds: float = field(default=30.0, validator=validators.gt(0))
    start_seconds: float = field(default=5.0, validator=validators.gt(0))
    agent_connect_seconds: float = field(default=15.0, validator=validators.gt(0))
    agent_hedge_seconds: float = field(default=2.0, validator=validators.ge(0))
    agent_silence_seconds: float = field(default=20.0, validator=validators.gt(0))
    agent_response_seconds: float = field(default=3.0, validator=validators.gt(0))
    agent_first_audio_seconds: float = field(default=5.0, validator=validators.gt(0))
    agent_audio_gap_seconds: float = field(default=3.0, validator=validators.gt(0))
    agent_rollover_seconds: float = field(default=300.0, validator=validators.gt(0))
    drain_seconds: float = field(default=60.0, validator=validators.ge(0))
    takeover_seconds: float = field(default=60.0, validator=validators.gt(0))
    takeover_drain_seconds: float = field(default=14_400.0, validator=validators.ge(0))
    goodbye_seconds: float = field(default=10.0, validator=validators.gt(0))
    play_queue_seconds: float = field(default=300.0, validator=validators.gt(0))
    max_strangers: int = field(default=2000, validator=validators.ge(32))


Network: TypeAlias = IPv4Network | IPv6Network


@frozen(kw_only=True)
class SipTrunk:
    """
    Where calls of ours go: the Voice Connector's termination.

    @ivar host: C{VOICECONNECTOR-ID.voiceconnector.chime.aws}.
    @ivar from_number: what the called party sees; a number of the account.
    @ivar username: empty: the termination asks for no password.
    """

    host: str
    port: int = field(default=5060, validator=validators.in_(range(1, 65536)))
    transport: str = field(
        default="udp", validator=validators.in_(("udp", "tcp", "tls"))
    )
    from_number: str = field(default="", repr=False, converter=normalised)
    username: str = ""
    password: str = field(default="", repr=False)


@frozen(kw_only=True)
class SipSettings:
    """
    The SIP carrier.

    @ivar listen: where; empty: there is no SIP.
    @ivar allow: who may send signalling and media; everybody else is not even
        answered.
    @ivar public_address: IP address that the other side can reach, for Contact
        and SDP; empty: the interface's own.
    @ivar rtp_ports: lowest and highest UDP port for media.
    @ivar codecs: that are spoken.
    @ivar srtp: C{required} or C{offered}; with TLS alone it is required.
    @ivar calls_per_second: more new calls than this are refused.
    @ivar full_status: what a call gets that cannot be taken: 503 sends a Voice
        Connector to its next route, 486 is busy.
    @ivar failover: whoever calls tries somebody else after 503, so a call that cannot
        be served is refused; else its caller hears the profile's apology.
    @ivar media_timeout_seconds: nothing at all from the other side for so long
        ends the call.
    @ivar session_expires_seconds: asked for in calls of ours; C{min_se_seconds}
        is the least that is agreed to (RFC 4028).
    @ivar t1_seconds: estimate of a round trip, the base of all SIP timers.
    @ivar call_secrets: who calls has to know one of them (C{X-Gw-Auth}); none: nobody
        has to.
    @ivar proof_seconds: so old may a proof be; a greeting of the Lambda's is spoken
        between it and its call.
    @ivar voice_connectors: ids or ARNs of those whose calls are taken; empty: of all
        that are in C{allow}.
    @ivar numbers: that may be called without a proof, as no Lambda is before them;
        others may not then.
    @ivar unacknowledged_calls: calls whose ACK is not here yet, each with an agent
        session; C{unacknowledged_per_source} of one address.  0: three quarters, and
        half, of C{limits.max_calls}.
    """

    listen: tuple[Listener, ...] = ()
    allow: tuple[Network, ...] = ()
    public_address: str = ""
    rtp_ports: tuple[int, int] = (16384, 32767)
    codecs: tuple[str, ...] = ("PCMU", "PCMA")
    certificate: str = ""
    private_key: str = ""
    srtp: str = field(
        default="offered", validator=validators.in_(("offered", "required"))
    )
    calls_per_second: float = field(default=50.0, validator=validators.gt(0))
    full_status: int = field(default=503, validator=validators.in_((503, 486)))
    failover: bool = True
    media_timeout_seconds: float = field(default=30.0, validator=validators.gt(0))
    session_expires_seconds: int = field(default=1800, validator=validators.ge(90))
    min_se_seconds: int = field(default=90, validator=validators.ge(90))
    t1_seconds: float = field(default=0.5, validator=validators.gt(0))
    call_secrets: tuple[str, ...] = field(default=(), repr=False)
    proof_seconds: float = field(default=300.0, validator=validators.ge(30.0))
    voice_connectors: tuple[str, ...] = ()
    numbers: tuple[str, ...] = field(default=(), repr=False)
    unacknowledged_calls: int = field(default=0, validator=validators.ge(0))
    unacknowledged_per_source: int = field(default=0, validator=validators.ge(0))
    trunk: SipTrunk | None = None

    @property
    def is_tls_only(self) -> bool:
        return all(listener.transport == "tls" for listener in self.listen)

    @property
    def requires_srtp(self) -> bool:
        return self.srtp == "required" or (bool(self.listen) and self.is_tls_only)


@frozen(kw_only=True)
class AwsSettings:
    """
    What controls calls from outside of them, and where.

    @ivar region: empty: C{AWS_REGION}, then whatever botocore finds.
    @ivar sip_media_application_id: empty: calls cannot be controlled so.
    @ivar from_number: of calls that the application makes; one of the account's.
    @ivar updates_per_second: the account's quota of updates to calls.
    @ivar calls_per_second: the account's quota of calls made by the application.
    """

    region: str = ""
    sip_media_application_id: str = ""
    from_number: str = field(default="", repr=False, converter=normalised)
    updates_per_second: float = field(default=5.0, validator=validators.gt(0))
    calls_per_second: float = field(default=1.0, validator=validators.gt(0))


@frozen(kw_only=True)
class KinesisSettings:
    """
    The Kinesis carrier.

    @ivar queue_url: of the queue with the Voice Connector's streaming
        notifications; empty: there is no such carrier.
    @ivar bucket: where the agent's utterances are put; C{prefix} goes before
        their names.
    @ivar leg: whose voice it is: C{caller}, or C{other} where the Voice
        Connector takes the wrong one for the caller.
    @ivar events_prefix: how queues are named that the gateway makes for what the
        Lambda reports; empty: NAME-events- beside a queue NAME-notices.
    """

    queue_url: str = ""
    bucket: str = ""
    prefix: str = "replies/"
    leg: str = field(default="caller", validator=validators.in_(("caller", "other")))
    events_prefix: str = ""


@frozen(kw_only=True)
class TransferSettings:
    """
    Where callers may be handed on to, and calls of ours may go.

    @ivar allow: what an address begins with (L{destination_fault}); empty: all but
        premium rates.
    @ivar per_hour: so many calls are sent somewhere; the next is refused.
    @ivar per_target_per_hour: the same, of one number or address.
    """

    allow: tuple[str, ...] = ()
    per_hour: int = field(default=6000, validator=validators.ge(1))
    per_target_per_hour: int = field(default=3000, validator=validators.ge(1))


@frozen(kw_only=True)
class StoreSettings:
    """
    Where calls are written down.

    @ivar database_url: C{sqlite:///FILE} or C{postgresql://...}.
    @ivar state_directory: for what must be on this machine: the journal of what
        the database has not taken yet, recordings on their way to S3.
    @ivar instance: this gateway among those that share the database; the same
        after a restart.
    @ivar retention_days: older calls are deleted; 0: never.
    @ivar numbers: telephone numbers are kept C{plain}, C{masked} or C{hashed}.
    @ivar numbers_key: of the hash, so that nobody can try all numbers.
    """

    database_url: str = field(default="", repr=False)
    state_directory: str = "chimegw-state"
    instance: str = ""
    retention_days: float = field(default=90.0, validator=validators.ge(0))
    numbers: str = field(
        default="plain", validator=validators.in_(("plain", "masked", "hashed"))
    )
    numbers_key: str = field(default="", repr=False)


@frozen(kw_only=True)
class RecordingSettings:
    """
    Where recordings go.

    @ivar location: a directory, or C{s3://BUCKET/PREFIX}; empty: none are made.
    @ivar encryption: asked of S3: C{AES256}, C{aws:kms}, or empty.
    @ivar kms_key: for C{aws:kms}; empty: the account's own for S3.
    """

    location: str = ""
    encryption: str = field(
        default="AES256", validator=validators.in_(("", "AES256", "aws:kms"))
    )
    kms_key: str = ""

    @property
    def is_s3(self) -> bool:
        return self.location.startswith("s3://")


#: What a webhook can be told.
WEBHOOK_EVENTS: Final = (
    "call.started",
    "call.answered",
    "turn.completed",
    "tool.called",
    "call.ended",
)


@frozen(kw_only=True)
class WebhookSettings:
    """
    Who is told what happens in calls.

    @ivar events: some of L{WEBHOOK_EVENTS}.
    @ivar secret: signs each delivery; empty: it is not signed.
    @ivar give_up_hours: a delivery that fails for so long is dropped.
    """

    name: str = ""
    url: str
    events: tuple[str, ...] = WEBHOOK_EVENTS
    secret: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)
    timeout_seconds: float = field(default=10.0, validator=validators.gt(0))
    give_up_hours: float = field(default=72.0, validator=validators.gt(0))


@frozen(kw_only=True)
class GatewaySettings:
    """
    Everything.

    @ivar listen: Twisted endpoint strings.
    @ivar simulated_transport: to the embedded simulator.
    @ivar agents: profiles by name; C{default} is always there.
    @ivar routes: dialled number -> name of a profile.
    @ivar header_routes: header or parameter -> its value -> name of a profile.
    @ivar admin_token: opens the API; empty: it is shut.
    @ivar store: C{None}: nothing is written down.
    @ivar capture_directory: where whole calls are captured; empty: they are not.
    @ivar foreign: what is to be said of environment variables that look like settings.
    """

    listen: tuple[str, ...]
    deployments: tuple[DeploymentSettings, ...]
    simulate: bool = False
    simulated_transport: str = WEBSOCKET
    shared_secret: str = field(default="", repr=False)
    twilio_auth_token: str = field(default="", repr=False)
    public_address: str = ""
    agents: Mapping[str, AgentProfile] = Factory(lambda: {"default": AgentProfile()})
    routes: Mapping[str, str] = Factory(dict)
    header_routes: Mapping[str, Mapping[str, str]] = Factory(dict)
    admin_token: str = field(default="", repr=False)
    store: StoreSettings | None = None
    recordings: RecordingSettings = Factory(RecordingSettings)
    webhooks: tuple[WebhookSettings, ...] = ()
    capture_directory: str = ""
    limits: Limits = Factory(Limits)
    sip: SipSettings = Factory(SipSettings)
    webrtc: WebRtcSettings = Factory(WebRtcSettings)
    aws: AwsSettings = Factory(AwsSettings)
    kinesis: KinesisSettings = Factory(KinesisSettings)
    transfer: TransferSettings = Factory(TransferSettings)
    foreign: tuple[str, ...] = ()
