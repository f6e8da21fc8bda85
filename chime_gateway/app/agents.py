"""
Builds the client side of the agents' service: the deployments, their credentials, and
sessions over WebRTC.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from chime_gateway.agents.chooser.health import Health
from chime_gateway.agents.credentials import Credentials, IdentityTokens
from chime_gateway.agents.deployments import Deployment, Deployments, endpoint_for
from chime_gateway.http.metrics import Metrics
from chime_gateway.media.metronome import Metronome
from chime_gateway.net.batch import BatchReader
from chime_gateway.net.system.descriptors import shortage
from chime_gateway.net.system.resolver import ReactorWithNames, Resolver
from chime_gateway.net.system.threads import Threads
from chime_gateway.net.system.tls import ResumingClient
from chime_gateway.settings.values import DeploymentSettings, Limits

if TYPE_CHECKING:
    from chime_gateway.agents.webrtc.sessions import RtcSessions

#: Only one is needed; the rest are for requests that hang.
_MOST_TOKEN_REQUESTS: Final = 4


def join_agents(
    deployments: Sequence[DeploymentSettings],
    limits: Limits,
    *,
    reactor: Any,
    threads: Callable[[str, int], Threads],
    names: Resolver,
    metrics: Metrics,
    metronome: Metronome,
    batch: BatchReader,
) -> tuple[Deployments, Credentials]:
    """
    Make the deployments and their credentials.

    @param threads: makes threads, given a name and a number.
    @param names: resolves names of deployments only, so that one that does not resolve
        delays nothing else.
    """
    # For the same reason, tokens have their own threads.
    tokens = threads("tokens", _MOST_TOKEN_REQUESTS)
    credentials = Credentials(IdentityTokens().ask, tokens.run, reactor, time.time)
    named: Any = ReactorWithNames(reactor, names)
    tls = ResumingClient(reactor.seconds)

    def new_webrtc(health: Health) -> RtcSessions:
        # Imported when used: DTLS and SRTP need memory that most gateways can save.
        from chime_gateway.agents.webrtc.sessions import RtcSessions

        sessions = RtcSessions(
            reactor=named,
            clock=reactor,
            metronome=metronome,
            batch=batch,
            counts=health,
        )
        metrics.agents_rtp = sessions.traffic
        return sessions

    agents = Deployments(
        [Deployment(d, credentials.of(d)) for d in deployments],
        reactor=reactor,
        clock=reactor,
        endpoint=lambda url: endpoint_for(named, url, tls.to),
        limits=limits,
        chance=random.random,
        measures=metrics,
        batch=batch,
        shortage=shortage,
        new_webrtc=new_webrtc,
    )
    metrics.agents = agents.health
    return agents, credentials
