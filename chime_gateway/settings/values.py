"""
The settings of a gateway, as values.

L{chime_gateway.settings} reads them from files and the environment.  Code that needs
one setting is given that setting, not all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeAlias

from attrs import Factory, field, frozen, validators

from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.aws import AwsSettings, KinesisSettings
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.telephone import normalised
from chime_gateway.settings.webrtc import WebRtcSettings

#: How the audio of a session is transported.
WEBSOCKET: Final = "websocket"
WEBRTC: Final = "webrtc"

#: How its events are transported if the audio uses WebRTC.
SIDEBAND: Final = "sideband"
CHANNEL: Final = "channel"


@frozen(kw_only=True)
class DeploymentSettings:
    """
    One Azure OpenAI Realtime deployment.

    @ivar endpoint: The URL of the resource, C{https://RESOURCE.openai.azure.com}.
    @ivar deployment: The name of the deployment, which is not the name of its model.
    @ivar api_key: A key of the resource. Empty: C{AZURE_OPENAI_API_KEY}, then Microsoft
        Entra ID.
    @ivar api_version: An API version selects the preview protocol. Empty: GA.
    @ivar transport: How the audio is transported.
    @ivar events: How events are transported if the audio uses WebRTC: by a WebSocket
        (C{sideband}) or by a data channel (C{channel}). The preview has data channels
        only.
    @ivar webrtc_endpoint: The URL of the preview over WebRTC,
        C{https://REGION.realtimeapi-preview.ai.azure.com}.
    @ivar priority: Deployments with a lower number are tried first.
    @ivar weight: Among deployments of the same priority, one with twice the weight is
        tried first twice as often.
    @ivar token_scope: The scope of Entra ID tokens.
    @ivar requests_per_minute: The service's quota of new sessions per minute. 0: not
        known.
    @ivar tokens_per_minute: The service's quota of tokens per minute. 0: not known.
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
    The limits of calls and connections.

    @ivar max_calls: Most simultaneous calls, in all processes of the gateway; more are
        refused.
    @ivar max_calls_per_peer: Most simultaneous calls from one address of the carrier's
        side. 0: no limit.
    @ivar max_calls_per_caller: Most simultaneous calls from one caller's number. 0: no
        limit.
    @ivar max_cpu: The share of a core that the process may use; above it, new calls are
        refused.
    @ivar max_late_seconds: How late the 20 ms tick may be on average; above it, new
        calls are refused.
    @ivar max_apologies: Most refused callers who may hear the apology at the same time.
    @ivar max_call_seconds: The length of a call; then the agent says goodbye and the
        call ends.
    @ivar idle_seconds: A call ends after this time without audio from the caller.
    @ivar start_seconds: A media stream must send C{start} within this time.
    @ivar agent_connect_seconds: An agent session must be ready within this time.
    @ivar agent_hedge_seconds: After this time without a session, the next deployment is
        tried as well; the call uses the first one that is ready. 0: the next one is
        tried only when the previous one has failed.
    @ivar agent_silence_seconds: An agent that owes an answer and sends nothing for this
        time, over all its sessions, is given up; so is the search for another session
        during a call.
    @ivar agent_response_seconds: A session that owes an answer and starts no response
        within this time is replaced.
    @ivar agent_first_audio_seconds: A session whose response has no audio within this
        time is replaced.
    @ivar agent_audio_gap_seconds: A session whose audio stops in mid-sentence for this
        time is replaced.
    @ivar agent_rollover_seconds: The next session is prepared this time before one
        expires, and takes over in a pause.
    @ivar drain_seconds: How long calls in progress may continue after SIGTERM.
    @ivar takeover_seconds: A successor must be ready within this time after SIGUSR2.
    @ivar takeover_drain_seconds: How long calls in progress may continue in the old
        process after a take-over.
    @ivar goodbye_seconds: How long the agent's last words may take.
    @ivar play_queue_seconds: How much audio of the agent is kept for one call; more is
        dropped.
    @ivar max_strangers: Most HTTP connections that have neither a call nor shown the
        admin token; at most half of them may come from one address.
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
    The trunk for outbound calls: the Voice Connector's termination.

    @ivar host: The host of the termination,
        C{VOICECONNECTOR-ID.voiceconnector.chime.aws}.
    @ivar port: The SIP port of that host.
    @ivar transport: The transport of SIP messages.
    @ivar from_number: The number that the called party sees; it must be a number of the
        account.
    @ivar username: The user name, if the termination asks for a password.
    @ivar password: The password; C{CHIMEGW_SIP_TRUNK_PASSWORD} takes precedence.
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

    @ivar listen: Where to listen, C{udp:5060}, C{tcp:5060}, C{tls:5061}. Empty: no SIP.
    @ivar allow: Regions and networks that may send signalling and media; all others
        get no answer.
    @ivar public_address: The IP address that the other side can reach, for Contact and
        SDP. Empty: C{public_address} of the gateway, then the address of the interface.
    @ivar rtp_ports: The lowest and the highest UDP port for media.
    @ivar codecs: The codecs that are accepted, best first.
    @ivar certificate: The file with the certificate chain for TLS, PEM.
    @ivar private_key: The file with its key, PEM.
    @ivar srtp: Whether SRTP is required. It always is if all listeners use TLS.
    @ivar calls_per_second: Most new calls per second; more are refused.
    @ivar full_status: The answer to a call that cannot be taken: after 503 a Voice
        Connector tries its next route, 486 means busy.
    @ivar failover: Whether the other side tries another route after 503. Then a call
        that cannot be served is refused; otherwise its caller hears the profile's
        apology.
    @ivar media_timeout_seconds: A call ends after this time without any packet from the
        other side.
    @ivar session_expires_seconds: The session interval that outbound calls ask for
        (RFC 4028).
    @ivar min_se_seconds: The shortest session interval that is accepted (RFC 4028).
    @ivar t1_seconds: The estimate of a round trip, on which all SIP timers are based
        (RFC 3261 17).
    @ivar call_secrets: The secrets for proofs (C{X-Gw-Auth}); none: no proof is needed.
    @ivar proof_seconds: How old a proof may be. A greeting of the Lambda is played
        between the proof and the call.
    @ivar voice_connectors: Ids or ARNs of the Voice Connectors whose calls are taken.
        Empty: all that C{allow} lets in.
    @ivar numbers: Numbers that may be called without a proof, because AWS routes them
        here without a Lambda. If set, other numbers need a proof.
    @ivar unacknowledged_calls: Most answered calls that may wait for their ACK, each
        with an agent session. 0: three quarters of C{limits.max_calls}.
    @ivar unacknowledged_per_source: The same for one source address. 0: half of
        C{limits.max_calls}.
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
class TransferSettings:
    """
    The limits of transfers and outbound calls.

    @ivar allow: What the address of a transfer or an outbound call must begin with.
        Empty: everything except premium rates is allowed.
    @ivar per_hour: Most transfers and outbound calls per hour; more are refused.
    @ivar per_target_per_hour: The same for one number or address.
    """

    allow: tuple[str, ...] = ()
    per_hour: int = field(default=6000, validator=validators.ge(1))
    per_target_per_hour: int = field(default=3000, validator=validators.ge(1))


@frozen(kw_only=True)
class StoreSettings:
    """
    The store of calls.

    @ivar database_url: The database, C{sqlite:///FILE} or C{postgresql://...}.
    @ivar state_directory: The folder for data that stays on this machine: the journal,
        and recordings until their upload to S3.
    @ivar instance: The name of this gateway among those that share the database; it
        must stay the same after a restart.
    @ivar retention_days: Older calls are deleted. 0: never.
    @ivar numbers: How telephone numbers are stored.
    @ivar numbers_key: The key of the hash, without which hashes could be reversed by
        trying all numbers.
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
    The storage of recordings.

    @ivar location: A folder, or C{s3://BUCKET/PREFIX}. Empty: no recordings.
    @ivar encryption: The encryption that S3 has to use.
    @ivar kms_key: The key for C{aws:kms}. Empty: the account's default key for S3.
    """

    location: str = ""
    encryption: str = field(
        default="AES256", validator=validators.in_(("", "AES256", "aws:kms"))
    )
    kms_key: str = ""

    @property
    def is_s3(self) -> bool:
        return self.location.startswith("s3://")


#: Events that a webhook can receive.
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
    A receiver of events.

    @ivar url: The URL that deliveries are posted to; https:// unless it is on this
        machine.
    @ivar events: The events that are delivered.
    @ivar secret: Signs each delivery. Empty: deliveries are not signed. C{env:NAME}
        reads it from the environment.
    @ivar bearer: Sent as C{Authorization: Bearer}. C{env:NAME} reads it from the
        environment.
    @ivar timeout_seconds: A delivery must be answered within this time.
    @ivar give_up_hours: A delivery that fails for this time is dropped.
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
    All settings of a gateway.

    @ivar listen: Twisted endpoint strings.
    @ivar simulated_transport: the transport to the embedded simulator.
    @ivar agents: profiles by name; C{default} always exists.
    @ivar routes: dialled number -> name of a profile.
    @ivar header_routes: header or parameter -> its value -> name of a profile.
    @ivar admin_token: the credential for the API; empty: the API is closed.
    @ivar store: C{None}: calls are not stored.
    @ivar capture_directory: where captures of calls are written; empty: none are.
    @ivar probes: each deployment is probed at the start, before the first call.
    @ivar foreign: warnings about environment variables that look like settings.
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
    probes: bool = False
    foreign: tuple[str, ...] = ()
