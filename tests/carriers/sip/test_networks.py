"""
The same over IPv6, and for IPv4 on a dual-stack socket: the
tests of the carrier are repeated.
"""

from __future__ import annotations

from tests.carriers.sip import (
    test_carrier,
    test_inbound,
    test_leg,
    test_refer,
    test_session_refresh,
    test_voice_connector,
)
from tests.carriers.sip.outbound import test_early
from tests.carriers.sip.outbound import test_leg as test_outbound
from tests.support.sip_network import on_every_network
from tests.whole_calls import test_sip

globals().update(
    (case.__name__, case)
    for case in on_every_network(
        test_carrier,
        test_inbound,
        test_leg,
        test_outbound,
        test_early,
        test_refer,
        test_session_refresh,
        test_voice_connector,
        test_sip,
    )
)
