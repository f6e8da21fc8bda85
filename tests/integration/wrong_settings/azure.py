"""Deployments of Azure OpenAI, and names of settings."""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.wrong_settings.wrong import AZURE, SECRET, Wrong, env, toml

DEPLOYMENTS: Sequence[Wrong] = (
    Wrong(
        what="nothing is set",
        env=dict.fromkeys(AZURE, ""),
        key="AZURE_OPENAI_ENDPOINT",
        cure="--simulate runs without",
    ),
    Wrong(
        what="no deployment",
        env={"AZURE_OPENAI_DEPLOYMENT": ""},
        key="AZURE_OPENAI_DEPLOYMENT",
        cure="set it to the name of your deployment",
    ),
    Wrong(
        what="no endpoint",
        env={"AZURE_OPENAI_ENDPOINT": ""},
        key="AZURE_OPENAI_ENDPOINT",
        cure="set it to https://RESOURCE",
    ),
    Wrong(
        what="an untouched .env.example",
        env=dict.fromkeys(AZURE, ""),
        argv=["--env-file", ".env.example"],
        key="AZURE_OPENAI_ENDPOINT",
        value="my-resource",
        cure="your own",
    ),
    *(
        env(f"an endpoint {what}", "AZURE_OPENAI_ENDPOINT", value, cure)
        for what, value, cure in (
            ("without https://", "res.openai.azure.com", "expected https://RESOURCE"),
            ("over http", "http://res.openai.azure.com", "use https"),
            ("as a wss URL", "wss://res.openai.azure.com", "expected https://"),
            (
                *("with the path of the API", "https://res.openai.azure.com/openai/v1"),
                "no user, path or query: https://res.openai.azure.com",
            ),
            (
                *("with a query", "https://res.openai.azure.com/?api-version=x"),
                "no user, path or query",
            ),
            ("without a host", "https://", "expected https://RESOURCE"),
        )
    ),
    Wrong(
        what="an endpoint with a port that is none",
        env={"AZURE_OPENAI_ENDPOINT": "https://res:port"},
        key="AZURE_OPENAI_ENDPOINT",  # without the value: it may contain a password
        cure="expected https://RESOURCE",
    ),
    *(
        env("an api version", "AZURE_OPENAI_API_VERSION", value, "2025-04-01-preview")
        for value in ("v1", "preview", "2025-13-01-preview", "2025-04-01-prewiev", "1")
    ),
    env("a transport", "AZURE_OPENAI_TRANSPORT", "wss", "expected websocket or webrtc"),
    Wrong(
        what="the preview over WebRTC, and no region",
        env={
            "AZURE_OPENAI_API_VERSION": "2025-04-01-preview",
            "AZURE_OPENAI_TRANSPORT": "webrtc",
        },
        key="AZURE_OPENAI_WEBRTC_ENDPOINT",
        cure="https://REGION.realtimeapi-preview",
    ),
    Wrong(
        what="a name of another program",
        env={"AZURE_OPENAI_DEPLOYMENT_NAME": "x"},
        key="AZURE_OPENAI_DEPLOYMENT_NAME",
        cure="did you mean AZURE_OPENAI_DEPLOYMENT?",
        is_note=True,
    ),
)

NAMES: Sequence[Wrong] = (
    *(
        Wrong(
            what="a misspelt name",
            env={name: SECRET},
            key=name,
            cure=f"did you mean {meant}?",
            is_note=True,
        )
        for name, meant in (
            ("CHIMEGW_SHARED_SECRT", "CHIMEGW_SHARED_SECRET"),
            ("CHIMEGW_ADMINTOKEN", "CHIMEGW_ADMIN_TOKEN"),
            ("CHIMEGW_SIP_LISTENS", "CHIMEGW_SIP_LISTEN"),
            ("CHIMEGW_DB_URL", "CHIMEGW_DATABASE_URL"),
            ("CHIMEGW_RECORDING", "CHIMEGW_RECORDINGS"),
        )
    ),
    Wrong(
        what="a misspelt name in an env file",
        env_file="AZURE_OPENAI_API_KEYS=x\n",
        key="AZURE_OPENAI_API_KEYS",
        cure="did you mean AZURE_OPENAI_API_KEY?",
    ),
    Wrong(
        what="a line of an env file",
        env_file="\nCHIMEGW_STATE: /tmp\n",
        key="line 2",
        cure="expected NAME=value",
    ),
    Wrong(
        what="an env file that is not there",
        argv=["--env-file", "/nowhere/.env"],
        key="--env-file",
        value="/nowhere/.env",
        cure="No such file",
    ),
    Wrong(
        what="a TOML file that is not there",
        env={"CHIMEGW_CONFIG": "/nowhere/gateway.toml"},
        key="CHIMEGW_CONFIG",
        value="/nowhere/gateway.toml",
        cure="No such file",
    ),
    toml("TOML with a slip", "[agents.a\n", "gateway.toml", "line 1", "Expected"),
    toml(
        "a text without quotes", "listen = tcp:80\n", "gateway.toml", "line 1", "TOML"
    ),
)
