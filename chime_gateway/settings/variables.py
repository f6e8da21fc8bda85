"""
All environment variables that the gateway reads, with their descriptions.

C{.env.example}, the README and docs/reference/settings.md are generated from this
(docs/generate.py).
"""

from __future__ import annotations

from typing import Final

from attrs import frozen


@frozen(kw_only=True)
class Variable:
    """
    One environment variable.

    @ivar kind: the type of its value, in a word or two.
    @ivar default: what applies if it is not set, in words.
    @ivar text: sentences; the first one says what it is.
    @ivar since: the version that introduced it.
    @ivar example: a value as in an env file.
    @ivar is_secret: its value is never shown.
    @ivar is_essential: it belongs to a minimal set-up.
    @ivar key: the key of the TOML file that it takes precedence over; empty: none.
    """

    name: str
    kind: str
    default: str
    text: str
    since: str
    example: str = ""
    is_secret: bool = False
    is_essential: bool = False
    key: str = ""


#: In the order of first use, under headings.
GROUPS: Final[dict[str, tuple[Variable, ...]]] = {
    "The agent: Azure OpenAI Realtime": (
        Variable(
            name="AZURE_OPENAI_ENDPOINT",
            kind="URL",
            default="none; required without [deployments]",
            text="The URL of the Azure OpenAI resource. It begins with https://;"
            " http:// is allowed for this machine only, for a simulator.",
            since="0.1.0",
            example="https://my-resource.openai.azure.com",
            is_essential=True,
        ),
        Variable(
            name="AZURE_OPENAI_DEPLOYMENT",
            kind="text",
            default="none; required with AZURE_OPENAI_ENDPOINT",
            text="The name of the deployment of gpt-realtime, which is not the name of"
            " the model. A second deployment in the same resource,"
            " gpt-4o-mini-transcribe, transcribes what callers say; transcription_model"
            " and transcription_kind of an agent choose another one, or none.",
            since="0.1.0",
            example="gpt-realtime",
            is_essential=True,
        ),
        Variable(
            name="AZURE_OPENAI_API_KEY",
            kind="secret",
            default="Microsoft Entra ID",
            text="A key of the resource. Without it the gateway uses Microsoft Entra ID"
            " (managed identity, workload identity, service principal or az login) with"
            ' the role "Cognitive Services OpenAI User".',
            is_secret=True,
            since="0.1.0",
            is_essential=True,
        ),
        Variable(
            name="AZURE_OPENAI_API_VERSION",
            kind="text",
            default="the GA protocol",
            text="An API version selects the preview protocol.",
            since="0.1.0",
            example="2025-04-01-preview",
        ),
        Variable(
            name="AZURE_OPENAI_TRANSPORT",
            kind="websocket or webrtc",
            default="websocket",
            text="How the audio is transported (docs/howto/webrtc-agent.md).",
            since="0.2.0",
            example="webrtc",
        ),
        Variable(
            name="AZURE_OPENAI_WEBRTC_ENDPOINT",
            kind="URL",
            default="none; required for the preview over WebRTC",
            text="The URL of the preview over WebRTC, with the region of the resource.",
            since="0.2.0",
            example="https://swedencentral.realtimeapi-preview.ai.azure.com",
        ),
    ),
    "The gateway": (
        Variable(
            name="CHIMEGW_CONFIG",
            kind="path",
            default="no file",
            text="The TOML file with structured settings: agents, tools, routes,"
            " several deployments, limits. The option --config takes precedence.",
            since="0.2.0",
            example="/etc/chimegw/gateway.toml",
        ),
        Variable(
            name="CHIMEGW_SHARED_SECRET",
            kind="secret, at least 16 characters",
            default="the gateway listens on 127.0.0.1 only",
            text="The secret with which carriers authenticate (Authorization: Bearer,"
            " X-Gateway-Secret, or a token that chimegw token signs with it). Make one"
            " with: openssl rand -hex 32",
            is_secret=True,
            since="0.1.0",
            is_essential=True,
        ),
        Variable(
            name="CHIMEGW_ADMIN_TOKEN",
            kind="secret, at least 16 characters",
            default="the API is closed, and /metrics answers this machine only",
            text="The credential for the API under /api, and for /metrics"
            " (Authorization: Bearer). Make one with: openssl rand -hex 32",
            is_secret=True,
            since="0.2.0",
            is_essential=True,
        ),
        Variable(
            name="CHIMEGW_PUBLIC_ADDRESS",
            kind="host name, IP address, or ec2",
            default="the address of the interface",
            text="The address under which the outside world reaches the gateway: an"
            " address, a name, or ec2 for the Elastic IP in the instance's metadata."
            " Twilio signs this name. SIP and WebRTC send it to the other side. A"
            " gateway without a shared secret accepts media streams for this name and"
            " for localhost only.",
            since="0.1.0",
            example="voice.example.com",
            is_essential=True,
            key="public_address",
        ),
        Variable(
            name="CHIMEGW_TWILIO_AUTH_TOKEN",
            kind="secret",
            default="X-Twilio-Signature is not accepted",
            text="The auth token of a Twilio account, to check X-Twilio-Signature. It"
            " is needed only if Twilio connects to the gateway, and requires"
            " CHIMEGW_PUBLIC_ADDRESS.",
            is_secret=True,
            since="0.1.0",
        ),
    ),
    "Records and recordings": (
        Variable(
            name="CHIMEGW_STATE",
            kind="path",
            default="STATE_DIRECTORY, else chimegw-state in the current folder",
            text="The folder for data that must not be lost: the SQLite file, the"
            " journal of records that are not in the database yet, recordings until"
            " their upload to S3.",
            since="0.2.0",
            example="/var/lib/chimegw",
            is_essential=True,
            key="store.state_directory",
        ),
        Variable(
            name="STATE_DIRECTORY",
            kind="path",
            default="not set",
            text="Set by systemd for StateDirectory=; CHIMEGW_STATE takes precedence.",
            since="0.2.0",
            example="/var/lib/chimegw",
        ),
        Variable(
            name="CHIMEGW_DATABASE_URL",
            kind="URL",
            default="a SQLite file in CHIMEGW_STATE",
            text="The database for records. Several gateways can share PostgreSQL (pip"
            " install 'chime-gateway[postgresql]').",
            since="0.2.0",
            is_secret=True,
            example="postgresql://chimegw:PASSWORD@db.example.com/chimegw",
            key="store.database_url",
        ),
        Variable(
            name="CHIMEGW_INSTANCE",
            kind="letters, digits, and . : _ -",
            default="HOST:PORT",
            text="The name of this gateway among those that share a database. It must"
            " stay the same after a restart.",
            since="0.2.0",
            example="gateway-1",
            key="store.instance",
        ),
        Variable(
            name="CHIMEGW_RECORDINGS",
            kind="path, or s3://BUCKET/PREFIX",
            default="no recordings",
            text="Where stereo recordings are stored: the caller left, the agent right."
            " Calls of an agent with recording = false are not recorded.",
            since="0.2.0",
            example="s3://my-recordings/chimegw",
            is_essential=True,
            key="recordings.location",
        ),
        Variable(
            name="CHIMEGW_NUMBERS_KEY",
            kind="secret, at least 16 characters",
            default='none; required with numbers = "hashed"',
            text='The key of the hash, for [store] numbers = "hashed".',
            is_secret=True,
            since="0.2.0",
            key="store.numbers_key",
        ),
    ),
    "SIP and RTP: calls from a Voice Connector": (
        Variable(
            name="CHIMEGW_SIP_LISTEN",
            kind="list of udp:PORT, tcp:PORT, tls:PORT",
            default="no SIP",
            text="Where to listen for SIP, each transport once. An interface may follow"
            " (udp:5060:interface=10.0.0.5); :: is IPv6 and IPv4 on one socket. UDP"
            " source addresses can be forged: use UDP only if a carrier needs it. [sip]"
            " in the TOML file has more: codecs, timers, a trunk for outbound calls.",
            since="0.2.0",
            example="tcp:5060,tls:5061",
            is_essential=True,
            key="sip.listen",
        ),
        Variable(
            name="CHIMEGW_SIP_ALLOW",
            kind="list of regions and networks",
            default="none; required with SIP",
            text="Who may send signalling and media: a region stands for the networks"
            " of its Voice Connectors. All others get no answer.",
            since="0.2.0",
            example="eu-central-1,198.51.100.0/24",
            is_essential=True,
            key="sip.allow",
        ),
        Variable(
            name="CHIMEGW_CALL_SECRET",
            kind="secret, at least 16 characters; two, separated by a comma, while one"
            " replaces the other",
            default="everyone in CHIMEGW_SIP_ALLOW may call, and choose the agent",
            text="The secret with which the Lambda proves each of its calls, because"
            " all customers of AWS share a region's networks. chimegw aws apply makes"
            " it for both ends.",
            is_secret=True,
            since="0.2.0",
            is_essential=True,
        ),
        Variable(
            name="CHIMEGW_VOICE_CONNECTORS",
            kind="list of ids or ARNs",
            default="all",
            text="The Voice Connectors whose calls are taken; others are refused before"
            " their proof is checked. chimegw aws apply prints the value.",
            since="0.2.0",
            example="abcdef1ghij2klmno3pqr4",
            key="sip.voice_connectors",
        ),
        Variable(
            name="CHIMEGW_SIP_NUMBERS",
            kind="list of telephone numbers",
            default="none",
            text="Numbers that AWS routes here without a Lambda (chimegw aws apply"
            " --direct). Only they may be called without a proof; their callers cannot"
            " choose the agent.",
            since="0.2.0",
            example="+12065550100",
            key="sip.numbers",
        ),
        Variable(
            name="CHIMEGW_RTP_PORTS",
            kind="FIRST-LAST",
            default="16384-32767",
            text="UDP ports for media, two for each call. Several instances on one"
            " machine need different ranges.",
            since="0.2.0",
            example="16384-32767",
            key="sip.rtp_ports",
        ),
        Variable(
            name="CHIMEGW_SIP_CERTIFICATE",
            kind="path",
            default="none; required with tls",
            text="The certificate chain for tls, PEM.",
            since="0.2.0",
            example="/etc/chimegw/fullchain.pem",
            key="sip.certificate",
        ),
        Variable(
            name="CHIMEGW_SIP_PRIVATE_KEY",
            kind="path",
            default="the key in the file of the certificate",
            text="The private key of that certificate, PEM.",
            since="0.2.0",
            example="/etc/chimegw/privkey.pem",
            key="sip.private_key",
        ),
        Variable(
            name="CHIMEGW_SIP_TRUNK_PASSWORD",
            kind="secret",
            default="none",
            text="The password of [sip.trunk], if its termination asks for one.",
            is_secret=True,
            since="0.2.0",
            key="sip.trunk.password",
        ),
    ),
    "WebRTC: calls from browsers, apps and SBCs": (
        Variable(
            name="CHIMEGW_WEBRTC_LISTEN",
            kind="list of udp:PORT, tcp:PORT",
            default="no WebRTC",
            text="One UDP port and, for networks without UDP, one TCP port for the"
            " media of all calls that come in by POST /webrtc/offer"
            " (docs/howto/webrtc-callers.md). An interface is written as for SIP. The"
            " answer names CHIMEGW_PUBLIC_ADDRESS, or else the address at which the"
            " offer was received.",
            since="0.2.0",
            example="udp:3478,tcp:3478",
            key="webrtc.listen",
        ),
        Variable(
            name="CHIMEGW_WEBRTC_ORIGINS",
            kind="list of origins, or *",
            default="pages of the gateway's own origin",
            text="Origins of other web sites whose pages may call (CORS).",
            since="0.2.0",
            example="https://app.example.com",
            key="webrtc.origins",
        ),
    ),
    "AWS: control of calls, and the Kinesis carrier": (
        Variable(
            name="AWS_REGION",
            kind="text",
            default="AWS_DEFAULT_REGION",
            text="The region of the Voice Connector. Credentials and endpoints are"
            " found as in every AWS SDK (a role, AWS_PROFILE, and so on).",
            since="0.2.0",
            example="eu-central-1",
            key="aws.region",
        ),
        Variable(
            name="CHIMEGW_SMA_ID",
            kind="text",
            default="no transfers and outbound calls through the application",
            text="The SIP media application in front of the Voice Connector, for"
            " transfers and for calls that it places. chimegw aws apply prints its id.",
            since="0.2.0",
            example="12345678-90ab-cdef-1234-567890abcdef",
            key="aws.sip_media_application_id",
        ),
        Variable(
            name="CHIMEGW_KINESIS_QUEUE",
            kind="URL",
            default="no Kinesis carrier",
            text="The queue with the Voice Connector's streaming notifications, for"
            " calls without SIP. Such calls have a long delay.",
            since="0.2.0",
            example="https://sqs.eu-central-1.amazonaws.com/111122223333/chimegw-notices",
            key="kinesis.queue_url",
        ),
        Variable(
            name="CHIMEGW_KINESIS_BUCKET",
            kind="text",
            default="none; required with CHIMEGW_KINESIS_QUEUE",
            text="The bucket for the agent's audio.",
            since="0.2.0",
            example="chimegw-replies-111122223333",
            key="kinesis.bucket",
        ),
    ),
}

VARIABLES: Final = tuple(variable for group in GROUPS.values() for variable in group)

#: The names of all variables.
NAMES: Final = frozenset(variable.name for variable in VARIABLES)
