"""
Every environment variable that is read, with what a table of them says.

The tables of the documentation are generated from this.  What a value means is known to
whoever reads it.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen


@frozen(kw_only=True)
class Variable:
    """
    @ivar kind: of its value, in a word or two.
    @ivar default: what holds where it is absent, in words; empty: nothing does.
    @ivar text: what it is for, one sentence without a full stop.
    @ivar since: the version that had it first.
    @ivar is_secret: its value is shown nowhere.
    """

    name: str
    kind: str
    default: str = ""
    text: str
    since: str = "0.1.0"
    is_secret: bool = False


VARIABLES: Final = (
    Variable(
        name="AZURE_OPENAI_ENDPOINT",
        kind="URL",
        text="the Azure OpenAI resource, https://RESOURCE.openai.azure.com",
    ),
    Variable(
        name="AZURE_OPENAI_API_KEY",
        kind="secret",
        default="Microsoft Entra ID (managed identity, service principal, az login)",
        text="a key of the resource",
        is_secret=True,
    ),
    Variable(
        name="AZURE_OPENAI_DEPLOYMENT",
        kind="name",
        text="the name of the deployment (not of the model)",
    ),
    Variable(
        name="AZURE_OPENAI_API_VERSION",
        kind="YYYY-MM-DD-preview",
        default="the GA protocol",
        text="selects the preview protocol",
    ),
    Variable(
        name="AZURE_OPENAI_TRANSPORT",
        kind="websocket or webrtc",
        default="websocket",
        text="how the audio of a session travels",
        since="0.2.0",
    ),
    Variable(
        name="AZURE_OPENAI_WEBRTC_ENDPOINT",
        kind="URL",
        text="where the preview takes calls over WebRTC",
        since="0.2.0",
    ),
    Variable(
        name="CHIMEGW_CONFIG",
        kind="file",
        default="no TOML file",
        text="the TOML file with agents, deployments, limits",
    ),
    Variable(
        name="CHIMEGW_SHARED_SECRET",
        kind="secret",
        default="the gateway listens on 127.0.0.1 only",
        text="opens media streams to carriers",
        is_secret=True,
    ),
    Variable(
        name="CHIMEGW_ADMIN_TOKEN",
        kind="secret",
        default="the API is closed, /metrics is for this machine only",
        text="opens the API and /metrics",
        is_secret=True,
    ),
    Variable(
        name="CHIMEGW_DATABASE_URL",
        kind="URL",
        default="a SQLite file in CHIMEGW_STATE",
        text="the database that calls are written to",
        is_secret=True,
    ),
    Variable(
        name="CHIMEGW_STATE",
        kind="folder",
        default="STATE_DIRECTORY, then chimegw-state",
        text="the folder for what must not be lost",
    ),
    Variable(
        name="STATE_DIRECTORY",
        kind="folder",
        text="the same, as systemd sets it (StateDirectory=)",
    ),
    Variable(
        name="CHIMEGW_INSTANCE",
        kind="name",
        default="HOST:PORT",
        text="the name of this gateway among those that share a database",
    ),
    Variable(
        name="CHIMEGW_NUMBERS_KEY",
        kind="secret",
        text='the key of the hash with [store] numbers = "hashed"',
        is_secret=True,
    ),
    Variable(
        name="CHIMEGW_RECORDINGS",
        kind="folder or s3://BUCKET/PREFIX",
        default="no recordings",
        text="where stereo recordings of calls go",
    ),
    Variable(
        name="CHIMEGW_TWILIO_AUTH_TOKEN",
        kind="secret",
        text="checks X-Twilio-Signature; needs CHIMEGW_PUBLIC_ADDRESS",
        is_secret=True,
    ),
    Variable(
        name="CHIMEGW_PUBLIC_ADDRESS",
        kind="host or address",
        default="the address of an interface",
        text="the name or address under which the gateway is reached, or ec2",
    ),
    Variable(
        name="CHIMEGW_SIP_LISTEN",
        kind="list of TRANSPORT:PORT",
        default="no SIP",
        text="where to listen for SIP, such as tcp:5060,tls:5061",
    ),
    Variable(
        name="CHIMEGW_SIP_ALLOW",
        kind="list of regions and networks",
        text="who may send SIP and media; required with SIP",
    ),
    Variable(
        name="CHIMEGW_CALL_SECRET",
        kind="secret",
        default="whoever is allowed may call",
        text="proves that the Lambda sent a call; chimegw aws apply makes it",
        since="0.2.0",
        is_secret=True,
    ),
    Variable(
        name="CHIMEGW_VOICE_CONNECTORS",
        kind="list of ids or ARNs",
        default="all that are allowed",
        text="the Voice Connectors whose calls are taken",
        since="0.2.0",
    ),
    Variable(
        name="CHIMEGW_SIP_NUMBERS",
        kind="list of numbers",
        text="numbers that are routed here without a Lambda",
        since="0.2.0",
    ),
    Variable(
        name="CHIMEGW_RTP_PORTS",
        kind="FIRST-LAST",
        default="16384-32767",
        text="the UDP ports for media, two for each call",
    ),
    Variable(
        name="CHIMEGW_WEBRTC_LISTEN",
        kind="list of TRANSPORT:PORT",
        default="no callers over WebRTC",
        text="the ports for media of callers over WebRTC, such as udp:3478,tcp:3478",
        since="0.2.0",
    ),
    Variable(
        name="CHIMEGW_WEBRTC_ORIGINS",
        kind="list of origins",
        default="pages under the gateway's own name only",
        text="sites whose pages may call from a browser",
        since="0.2.0",
    ),
    Variable(
        name="CHIMEGW_SIP_CERTIFICATE",
        kind="file",
        text="the certificate chain for SIP over TLS, PEM",
    ),
    Variable(
        name="CHIMEGW_SIP_PRIVATE_KEY",
        kind="file",
        default="in the file of the certificate",
        text="the key of that certificate, PEM",
    ),
    Variable(
        name="CHIMEGW_SIP_TRUNK_PASSWORD",
        kind="secret",
        text="the password of [sip.trunk]",
        is_secret=True,
    ),
    Variable(
        name="AWS_REGION",
        kind="region",
        default="AWS_DEFAULT_REGION, then what botocore finds",
        text="the region of the Voice Connector",
    ),
    Variable(
        name="CHIMEGW_SMA_ID",
        kind="id",
        default="no transfers by AWS",
        text="the SIP media application that controls the calls",
    ),
    Variable(
        name="CHIMEGW_KINESIS_QUEUE",
        kind="URL",
        default="no Kinesis carrier",
        text="the queue with the streaming notifications of the Voice Connector",
    ),
    Variable(
        name="CHIMEGW_KINESIS_BUCKET",
        kind="bucket",
        text="the bucket for the agent's voice; required with the queue",
    ),
)

NAMES: Final = frozenset(variable.name for variable in VARIABLES)
