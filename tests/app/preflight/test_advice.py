"""Warnings of --check, /ready and the log that strangers may call."""

from __future__ import annotations

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.preflight.advice import advice, open_doors
from chime_gateway.settings.load import load

AZURE = {
    "AZURE_OPENAI_ENDPOINT": "https://unit.example",
    "AZURE_OPENAI_API_KEY": "key",
    "AZURE_OPENAI_DEPLOYMENT": "realtime",
    "CHIMEGW_PUBLIC_ADDRESS": "203.0.113.7",
}
SECRETS = (
    *("CHIMEGW_SHARED_SECRET", "CHIMEGW_TWILIO_AUTH_TOKEN", "CHIMEGW_ADMIN_TOKEN"),
    "CHIMEGW_CALL_SECRET",
)
LOCAL = ("tcp:8080:interface=127.0.0.1", "unix:/run/gw", r"tcp:1:interface=\:\:1")
PUBLIC = ("tcp:8080", "tcp:8080:interface=0.0.0.0", "ssl:8443:privateKey=k")


class OpenDoorTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        st.sets(st.sampled_from(SECRETS)),
        st.lists(st.sampled_from(LOCAL + PUBLIC), min_size=1, unique=True),
        st.booleans(),
    )
    def test_each_open_door_is_reported_with_its_remedy(
        self, secrets: set[str], listen: list[str], has_sip: bool
    ) -> None:
        environ = {**AZURE, **dict.fromkeys(secrets, "0123456789abcdef")}
        if has_sip:
            environ.update(CHIMEGW_SIP_LISTEN="tcp:5060", CHIMEGW_SIP_ALLOW="us-east-1")
        loaded = load(environ, built_in={}, listen=listen, insecure=True)
        said = "\n".join(advice(loaded, date(2026, 1, 1)))
        is_open = not {"CHIMEGW_SHARED_SECRET", "CHIMEGW_TWILIO_AUTH_TOKEN"} & secrets
        reached = is_open and bool(set(listen) & set(PUBLIC))
        sip = has_sip and "CHIMEGW_CALL_SECRET" not in secrets
        self.assertEqual("CHIMEGW_SHARED_SECRET is not set" in said, is_open)
        self.assertEqual("CHIMEGW_CALL_SECRET is not set" in said, sip)
        told = open_doors(loaded)
        self.assertEqual("CHIMEGW_SHARED_SECRET" in told, reached)
        self.assertEqual("CHIMEGW_CALL_SECRET" in told, sip)
        self.assertEqual("openssl" in told, reached)
