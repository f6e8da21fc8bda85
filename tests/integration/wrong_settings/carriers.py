"""Who may call, and how."""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.wrong_settings.wrong import KINESIS, SIP, Wrong, env, toml

CARRIERS: Sequence[Wrong] = (
    *(
        env("SIP's transport or port", "CHIMEGW_SIP_LISTEN", value, "udp:5060")
        for value in ("5060", "sctp:5060", "tcp", "tcp:99999", "tcp:5060:eth0")
    ),
    env(
        "SIP's port twice",
        "CHIMEGW_SIP_LISTEN",
        "tcp:1,tcp:2",
        "once at most",
        **{"CHIMEGW_SIP_ALLOW": "127.0.0.0/8"},
    ),
    env(
        "SIP's taken port",
        "CHIMEGW_SIP_LISTEN",
        "udp:{udp}",
        "is taken",
        **{"CHIMEGW_SIP_ALLOW": "127.0.0.0/8"},
    ),
    Wrong(
        what="SIP, and nobody who may call",
        env={"CHIMEGW_SIP_LISTEN": "tcp:0"},
        key="CHIMEGW_SIP_ALLOW",
        cure="eu-central-1",
    ),
    *(
        env(f"SIP's callers {what}", "CHIMEGW_SIP_ALLOW", value, "198.51.100.0/24")
        for what, value in (
            ("as a region that is none", "eu-cental-1"),
            ("as a network with host bits", "10.0.0.1/8"),
            ("as a name", "voice.example.com"),
        )
    ),
    *(
        env("media ports", "CHIMEGW_RTP_PORTS", value, "-")
        for value in ("16384", "20000-10000", "80-90", "16384:32767")
    ),
    Wrong(
        what="WebRTC's port among the media ports",
        env={**SIP, "CHIMEGW_WEBRTC_LISTEN": "udp:20000"},
        key="CHIMEGW_WEBRTC_LISTEN",
        value="20000",
        cure="outside of the range",
    ),
    Wrong(
        what="TLS without a certificate",
        env={**SIP, "CHIMEGW_SIP_LISTEN": "tls:0"},
        key="CHIMEGW_SIP_CERTIFICATE",
        cure="PEM",
    ),
    *(
        Wrong(
            what=f"a certificate {what}",
            env={
                **SIP,
                "CHIMEGW_SIP_LISTEN": "tls:0",
                "CHIMEGW_SIP_CERTIFICATE": f"{{folder}}/{name}",
                "CHIMEGW_SIP_PRIVATE_KEY": key and f"{{folder}}/{key}",
            },
            key=said,
            value=key or name,
            cure=cure,
        )
        for what, name, key, said, cure in (
            *(("that is not there", "no.pem", "", "CHIMEGW_SIP_CERTIFICATE", "PEM"),),
            *(
                (
                    "without its key",
                    "good.pem",
                    "no.pem",
                    "CHIMEGW_SIP_PRIVATE_KEY",
                    "P",
                ),
            ),
            *(("that is none", "file", "", "CHIMEGW_SIP_CERTIFICATE", "PEM"),),
            *(("with another's key", "good.pem", "other.pem", "CHIMEGW_SIP", "key"),),
            *(("that has expired", "old.pem", "", "CHIMEGW_SIP_CERTIFICATE", "renew"),),
        )
    ),
    env("a short proof", "CHIMEGW_CALL_SECRET", "x", "aws apply makes", **SIP),
    env(
        "a Voice Connector", "CHIMEGW_VOICE_CONNECTORS", "mine", "id, or its ARN", **SIP
    ),
    Wrong(
        what="a number",
        env={**SIP, "CHIMEGW_SIP_NUMBERS": "abc"},
        key="CHIMEGW_SIP_NUMBERS",  # without the value: numbers are personal data
        cure="+12065550100",
    ),
    env("WebRTC's port", "CHIMEGW_WEBRTC_LISTEN", "tls:443", "udp:3478"),
    env(
        "an origin", "CHIMEGW_WEBRTC_ORIGINS", "app.example.com", "https://app.example"
    ),
    env("a queue", "CHIMEGW_KINESIS_QUEUE", "notices", "https://sqs.REGION"),
    *(
        Wrong(
            what="half of Kinesis",
            env={**KINESIS, name: ""},
            key=name,
            cure="the Kinesis carrier needs it",
        )
        for name in ("CHIMEGW_KINESIS_BUCKET", "CHIMEGW_SMA_ID", "AWS_REGION")
    ),
    toml(
        *("a trunk without a host", "[sip.trunk]\nport = 5060\n"),
        *("sip.trunk.host", "", "is missing"),
    ),
    toml(
        *("a transport of the trunk", '[sip.trunk]\nhost = "x"\ntransport = "ws"\n'),
        *("sip.trunk.transport", "ws", "'udp' or 'tcp' or 'tls'"),
    ),
)
