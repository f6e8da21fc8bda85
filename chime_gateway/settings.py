"""
What an operator can set, as values.

Nothing here reads a file or the environment (L{chime_gateway.config} does); a
module that wants a setting takes that setting, not the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, TypeAlias

from attrs import Factory, field, frozen, validators

#: Said when the gateway must end a call that goes on: drained, or over its time.
DEFAULT_GOODBYE: Final = (
    "The line has to be closed now. Apologise in one short sentence, say goodbye,"
    " and do not ask anything."
)

DEFAULT_INSTRUCTIONS: Final = (
    "You are on a telephone call. Be friendly, brief and clear; answer in the"
    " caller's language."
)


def _default_turn_detection() -> dict[str, Any]:
    # silence_duration_ms is always given: the service's documented default and
    # the one it reports differ.
    return {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
    }


@frozen(kw_only=True)
class AgentProfile:
    """
    Who answers: the settings of one agent.

    @ivar greeting: what the agent says first; empty: the caller speaks first.
    @ivar interruptible: whether the caller's speech stops the agent's.
    @ivar turn_detection: passed to the service as it is, except for the two
        members that L{interruptible} decides.
    """

    instructions: str = DEFAULT_INSTRUCTIONS
    voice: str = "marin"
    greeting: str = ""
    goodbye: str = DEFAULT_GOODBYE
    language: str = ""
    interruptible: bool = True
    transcription_model: str = "whisper-1"
    noise_reduction: str = field(
        default="near_field", validator=validators.in_(("near_field", "far_field", ""))
    )
    turn_detection: Mapping[str, Any] = Factory(_default_turn_detection)
    max_output_tokens: int | None = field(
        default=None, validator=validators.optional(validators.in_(range(1, 4097)))
    )


@frozen(kw_only=True)
class DeploymentSettings:
    """
    One Azure OpenAI Realtime deployment.

    @ivar endpoint: C{https://RESOURCE.openai.azure.com}.
    @ivar api_key: empty: Microsoft Entra ID.
    @ivar api_version: set: the preview dialect; empty: GA.
    @ivar priority: lower is tried first.
    """

    name: str
    endpoint: str
    deployment: str
    api_key: str = field(default="", repr=False)
    api_version: str = ""
    priority: int = 1
    token_scope: str = "https://cognitiveservices.azure.com/.default"


@frozen(kw_only=True)
class Limits:
    """
    What is refused or ended, in calls and seconds.

    @ivar max_calls: the next call is refused.
    @ivar max_call_seconds: the agent says goodbye, then the call is ended.
    @ivar idle_seconds: no audio from the caller for so long ends the call.
    @ivar start_seconds: a stream must say C{start} within this time.
    @ivar agent_connect_seconds: the agent must be ready within this time.
    @ivar agent_silence_seconds: an agent that owes an answer and sends nothing
        for so long is given up.
    @ivar drain_seconds: how long running calls may go on after SIGTERM.
    @ivar goodbye_seconds: how long the agent's last words may take.
    @ivar play_queue_seconds: agent's audio kept for one call; more is dropped.
    """

    max_calls: int = field(default=200, validator=validators.ge(1))
    max_call_seconds: float = field(default=3600.0, validator=validators.gt(0))
    idle_seconds: float = field(default=30.0, validator=validators.gt(0))
    start_seconds: float = field(default=5.0, validator=validators.gt(0))
    agent_connect_seconds: float = field(default=15.0, validator=validators.gt(0))
    agent_silence_seconds: float = field(default=20.0, validator=validators.gt(0))
    drain_seconds: float = field(default=60.0, validator=validators.ge(0))
    goodbye_seconds: float = field(default=10.0, validator=validators.gt(0))
    play_queue_seconds: float = field(default=300.0, validator=validators.gt(0))


Network: TypeAlias = IPv4Network | IPv6Network


@frozen(kw_only=True)
class SipListener:
    """
    @ivar transport: C{udp}, C{tcp} or C{tls}.
    @ivar interface: address to bind; empty: all of IPv4.
    """

    transport: str
    port: int
    interface: str = ""


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
    from_number: str = field(default="", repr=False)
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
    @ivar media_timeout_seconds: nothing at all from the other side for so long
        ends the call.
    @ivar session_expires_seconds: asked for in calls of ours; C{min_se_seconds}
        is the least that is agreed to (RFC 4028).
    @ivar t1_seconds: estimate of a round trip, the base of all SIP timers.
    """

    listen: tuple[SipListener, ...] = ()
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
    media_timeout_seconds: float = field(default=30.0, validator=validators.gt(0))
    session_expires_seconds: int = field(default=1800, validator=validators.ge(90))
    min_se_seconds: int = field(default=90, validator=validators.ge(90))
    t1_seconds: float = field(default=0.5, validator=validators.gt(0))
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
    @ivar updates_per_second: the account's quota of updates to calls.
    @ivar calls_per_second: the account's quota of calls made by the application.
    """

    region: str = ""
    sip_media_application_id: str = ""
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
class GatewaySettings:
    """
    Everything.

    @ivar listen: Twisted endpoint strings.
    @ivar agents: profiles by name; C{default} is always there.
    @ivar routes: dialled number -> name of a profile.
    """

    listen: tuple[str, ...]
    deployments: tuple[DeploymentSettings, ...]
    simulate: bool = False
    shared_secret: str = field(default="", repr=False)
    twilio_auth_token: str = field(default="", repr=False)
    public_address: str = ""
    agents: Mapping[str, AgentProfile] = Factory(lambda: {"default": AgentProfile()})
    routes: Mapping[str, str] = Factory(dict)
    limits: Limits = Factory(Limits)
    sip: SipSettings = Factory(SipSettings)
    aws: AwsSettings = Factory(AwsSettings)
    kinesis: KinesisSettings = Factory(KinesisSettings)
