"""Where a gateway listens, and where it stores calls."""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.wrong_settings.wrong import SECRET, SIP, Wrong, env, toml

DOORS: Sequence[Wrong] = (
    env("a short secret", "CHIMEGW_SHARED_SECRET", "hunter2", "openssl rand -hex 32"),
    env("a short token", "CHIMEGW_ADMIN_TOKEN", "hunter2", "openssl rand -hex 32"),
    env("Twilio without a name", "CHIMEGW_TWILIO_AUTH_TOKEN", SECRET, "PUBLIC_ADDRESS"),
    *(
        env(f"an address {what}", "CHIMEGW_PUBLIC_ADDRESS", value, cure)
        for what, value, cure in (
            ("as a URL", "https://voice.example.com/stream", "voice.example.com"),
            ("as a wss URL", "wss://voice.example.com", "write the host alone"),
            ("with a path", "voice.example.com/stream", "expected a host name"),
            ("with a space", "voice example", "expected a host name"),
            ("with a port that is none", "voice.example.com:99999", "with :PORT"),
            ("as a mask", "10.0.0.0/8", "expected a host name"),
        )
    ),
    env(
        *("an address that DNS has not", "CHIMEGW_PUBLIC_ADDRESS", "no.such.invalid"),
        "a name in DNS",
        **SIP,
    ),
    Wrong(
        what="everybody, and no secret",
        argv=["--listen", "tcp:9000"],
        key="--listen tcp:9000",
        cure="CHIMEGW_SHARED_SECRET",
    ),
    Wrong(
        what="a port",
        argv=["--port", "70000"],
        key="--port",
        value="70000",
        cure="0 to 65535",
    ),
    Wrong(
        what="a port in letters",
        argv=["--port", "http"],
        key="--port",
        value="http",
        cure="expected a number",
    ),
    Wrong(
        what="an option",
        argv=["--prot", "80"],
        key="--prot",
        cure="did you mean --port?",
    ),
    Wrong(
        what="an argument too many",
        argv=["8080"],
        key="8080",
        cure="no argument is expected",
    ),
    *(
        Wrong(
            what=f"an endpoint {what}",
            argv=["--insecure", "--listen", value],
            key="--listen",
            value=value,
            cure=cure,
        )
        for what, value, cure in (
            ("of no kind", "http:8080", "expected tcp:PORT"),
            ("without a kind", "8080", "expected tcp:PORT"),
            ("with a port that is none", "tcp:http", "expected tcp:PORT"),
            ("with too high a port", "tcp:99999", "0 to 65535"),
            ("without its certificate", "ssl:0:privateKey=no.pem", "no.pem"),
            ("that is taken", "tcp:{tcp}:interface=127.0.0.1", "is taken"),
            ("of another machine", "tcp:80:interface=203.0.113.9", "no address"),
        )
    ),
    Wrong(
        what="one port twice",
        argv=["--listen", "tcp:9001:interface=127.0.0.1", "--port", "9001"],
        key="9001",
        cure="give one of them another",
    ),
    Wrong(
        what="SIP and HTTP on one port",
        argv=["--port", "9001"],
        env={**SIP, "CHIMEGW_SIP_LISTEN": "tcp:9001"},
        key="CHIMEGW_SIP_LISTEN",
        value="tcp:9001",
        cure="give one of them another",
    ),
)

KEPT: Sequence[Wrong] = (
    env("a state folder that is a file", "CHIMEGW_STATE", "{folder}/file", "name a"),
    env("a state folder below a file", "CHIMEGW_STATE", "{folder}/file/x", "name a"),
    env(
        "a state folder that is read only", "CHIMEGW_STATE", "/proc/x", "name a folder"
    ),
    env("a database", "CHIMEGW_DATABASE_URL", "mysql://u:p@h/d", "postgresql://USER"),
    env("a database as a path", "CHIMEGW_DATABASE_URL", "/tmp/x.db", "sqlite:///FILE"),
    env("a database without a file", "CHIMEGW_DATABASE_URL", "sqlite://", "sqlite:///"),
    env(
        *("a database that is a folder", "CHIMEGW_DATABASE_URL", "sqlite:///{folder}"),
        "name a file in it",
    ),
    env(
        *("a database of another kind", "CHIMEGW_DATABASE_URL"),
        *("sqlite:///{folder}/file", "name another file"),
    ),
    env(
        *("a port of the database", "CHIMEGW_DATABASE_URL"),
        *("postgresql://u:p@h:port/d", "postgresql://USER"),
    ),
    env("a name with a space", "CHIMEGW_INSTANCE", "gateway one", "letters, digits"),
    env("a bucket", "CHIMEGW_RECORDINGS", "s3://", "s3://BUCKET/PREFIX"),
    env("a bucket in capitals", "CHIMEGW_RECORDINGS", "s3://Mine/x", "s3://BUCKET"),
    env("another scheme", "CHIMEGW_RECORDINGS", "gs://mine/x", "s3://BUCKET/PREFIX"),
    env("recordings in a file", "CHIMEGW_RECORDINGS", "{folder}/file", "name a folder"),
    Wrong(
        what="captures in a file",
        argv=["--capture", "{folder}/file"],
        key="--capture",
        value="/file",
        cure="name a folder",
    ),
    toml(
        *("hashed numbers without a key", '[store]\nnumbers = "hashed"\n'),
        *("CHIMEGW_NUMBERS_KEY", "", "openssl rand -hex 32"),
    ),
    toml(
        *("a kind of numbers", '[store]\nnumbers = "none"\n'),
        *("store.numbers", "'none'", "'plain' or 'masked' or 'hashed'"),
    ),
    toml(
        *("an event of a webhook", '[webhooks.a]\nurl="https://x"\nevents=["end"]\n'),
        *("webhooks.a.events", "'end'", "call.ended"),
    ),
    toml(
        *("a webhook over http", '[webhooks.a]\nurl="http://x.example"\n'),
        *("webhooks.a.url", "http://", "use https"),
    ),
    toml(
        *(
            "a secret that is not there",
            '[webhooks.a]\nurl="https://x"\nsecret="env:X1"\n',
        ),
        *("webhooks.a.secret", "X1", "the environment has no"),
    ),
)
