"""
A typical wrong setting, and what the message about it must contain.

C{{folder}}, C{{tcp}} and C{{udp}} stand for a folder of the test and for ports in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import Factory, frozen

AZURE = {
    "AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com",
    "AZURE_OPENAI_DEPLOYMENT": "gpt-realtime",
    "AZURE_OPENAI_API_KEY": "azure-key-1234",
}
SECRET = "0123456789abcdef0123456789abcdef"
SIP = {"CHIMEGW_SIP_LISTEN": "tcp:0", "CHIMEGW_SIP_ALLOW": "127.0.0.0/8"}
TOOL = '[tools.order]\nurl = "https://x"\ndescription = "d"\n'
KINESIS = {
    "CHIMEGW_KINESIS_QUEUE": "https://sqs.eu-central-1.amazonaws.com/111122223333/q",
    "CHIMEGW_KINESIS_BUCKET": "bucket",
    "CHIMEGW_SMA_ID": "sma",
    "AWS_REGION": "eu-central-1",
}


@frozen(kw_only=True)
class Wrong:
    """
    A wrong setting.

    @ivar key: must be in the message, as must C{value} and C{cure}.
    @ivar env: changes to the variables of a working deployment; empty values: not set.
    @ivar argv: options of C{twistd chimegw}, in addition to C{--check}.
    @ivar is_note: it is no error, but reported.
    """

    what: str
    key: str
    value: str = ""
    cure: str
    env: Mapping[str, str] = Factory(dict)
    toml: str = ""
    env_file: str = ""
    argv: Sequence[str] = ()
    is_note: bool = False


def env(what: str, name: str, value: str, cure: str, **more: str) -> Wrong:
    """Make a case with one wrong variable."""
    shown = "" if name.endswith(("SECRET", "TOKEN", "KEY", "URL")) else value
    return Wrong(
        what=what, key=name, value=shown[:30], cure=cure, env={name: value, **more}
    )


def toml(what: str, toml: str, key: str, value: str, cure: str) -> Wrong:
    return Wrong(what=what, toml=toml, key=key, value=value, cure=cure)
