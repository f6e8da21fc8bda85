"""Peers that challenge any request at any time (RFC 3261 section 22)."""

from __future__ import annotations

import hashlib
import random
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.values import SipTrunk
from chime_gateway.wire.sip.message import Request, Response
from tests.support.sip_peer import PEER, SDP, SipWorld

TRUNK = SipTrunk(host="pbx.test", username="user", password='se"cr\\et')

HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
HEADERS = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


def h(algorithm: str, *parts: str) -> str:
    name = HASHES[algorithm.upper().removesuffix("-SESS")]
    return hashlib.new(name, ":".join(parts).encode()).hexdigest()


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Realm:
    """
    A realm that requires a password, with a policy for nonces.

    @ivar tries: requests with wrong credentials.
    """

    def __init__(self, rng: random.Random, number: int, password: str) -> None:
        self.rng = rng
        self.status = rng.choice((401, 407))
        self.name = f'realm {number}, of "{rng.random()}"'
        self.password = password
        self.algorithm = rng.choice(("", *HASHES, "md5", "MD5-sess", "SHA-256-sess"))
        is_session = self.algorithm.endswith("-sess")
        qops = ("auth", "auth,auth-int", "AUTH-INT, auth")
        self.qop = rng.choice(qops if is_session else ("", *qops))
        self.opaque = rng.choice(("", 'o"paque'))
        self.restlessness = rng.choice((0.0, 0.5, 1.0))
        self.counts: dict[str, int] = {}
        self.serial = 0
        self.nonce = self.new_nonce()
        self.first_cnonce: dict[str, str] = {}
        self.tries = 0

    def new_nonce(self) -> str:
        self.serial += 1
        self.nonce = f"{self.name[:7]}={self.serial}"
        self.counts[self.nonce] = 0
        return self.nonce

    def challenge(self, *, stale: str) -> str:
        parts = [f"realm={quoted(self.name)}", f'nonce="{self.nonce}"']
        if self.opaque:
            parts.append(f"opaque={quoted(self.opaque)}")
        if self.algorithm:
            parts.append(f"algorithm={self.algorithm}")
        if self.qop:
            parts.append(f'qop="{self.qop}"')
        if stale:
            parts.append(f"stale={stale}")
        self.rng.shuffle(parts)
        values = [f"Digest {', '.join(parts)}", f"Basic realm={quoted(self.name)}"]
        if self.algorithm.startswith("SHA"):
            weaker = f"Digest nonce=1, realm={quoted(self.name)}, algorithm=MD5"
            values.append(weaker)
        unknown = f"Digest nonce=1, realm={quoted(self.name)}, algorithm=X"
        values.append(unknown)
        self.rng.shuffle(values)
        name = HEADERS[self.status][0]
        return "".join(f"{name}: {value}\r\n" for value in values)

    def credentials(self, request: Request) -> dict[str, str] | None:
        for value in request.headers.getlist(HEADERS[self.status][1]):
            pairs = re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^,\s]+))', value)
            given = {n: re.sub(r"\\(.)", r"\1", q) or bare for n, q, bare in pairs}
            if given.get("realm") == self.name:
                return given
        return None

    def is_right(self, request: Request, given: dict[str, str]) -> bool:
        """RFC 7616 section 3.4, and further checks of a strict server."""
        algorithm = self.algorithm or "MD5"
        assert given.get("algorithm", "") == self.algorithm
        assert given.get("opaque", "") == self.opaque
        assert given["uri"] == request.uri_text
        nonce, cnonce = given["nonce"], given.get("cnonce", "")
        secret = h(algorithm, given["username"], self.name, self.password)
        if algorithm.endswith("-sess"):
            first = self.first_cnonce.setdefault(nonce, cnonce)
            secret = h(algorithm, secret, nonce, first)
        what = h(algorithm, request.method, given["uri"])
        if not self.qop:
            assert "nc" not in given and "qop" not in given
            return given["response"] == h(algorithm, secret, nonce, what)
        count = int(given["nc"], 16)
        # The count of each nonce begins with 1 and has no gaps.
        assert count == self.counts[nonce] + 1, given
        self.counts[nonce] = count
        assert given["qop"] == "auth" and cnonce
        middle = (nonce, given["nc"], cnonce, "auth")
        return given["response"] == h(algorithm, secret, *middle, what)


class Peer:
    """
    A peer behind proxies: it accepts every request that passes all realms.

    @ivar passed: the methods that passed.
    @ivar is_connected: a call was acknowledged and has not ended.
    """

    def __init__(self, world: SipWorld, rng: random.Random, password: str) -> None:
        self.world, self.rng = world, rng
        count = rng.choice((1, 1, 2, 3))
        self.realms = [Realm(rng, number, password) for number in range(count)]
        self.passed: list[str] = []
        self.headers = ""
        self.is_connected = False
        self.invite: Request | None = None
        self._challenged: dict[Realm, list[str]] = {}
        self._seen: set[tuple[str, str]] = set()

    def run(self) -> None:
        """Answer all requests until no more come."""
        for _ in range(200):
            heard = [m for m in self.world.heard() if isinstance(m, Request)]
            if not heard:
                return
            for request in heard:
                key = request.branch, request.method
                if key not in self._seen or request.method == "ACK":
                    self._seen.add(key)
                    self.request_received(request)
        raise AssertionError("it goes on for ever")

    def request_received(self, request: Request) -> None:
        if request.method == "ACK":
            self.acknowledged(request)
            return
        if request.method == "INVITE":
            self.invite = request
        status, challenge = self.judge(request)
        if challenge:
            self.world.answer(request, status, headers=challenge)
            return
        self._challenged.clear()
        self.passed.append(request.method)
        if request.method == "BYE":
            self.is_connected = False
        body = SDP if request.method == "INVITE" else ""
        status = 603 if request.method == "REFER" else 200
        self.world.answer(request, status, headers=self.headers, body=body)
        if body and self.rng.random() < 0.5:
            self.world.answer(request, 200, headers=self.headers, body=body)

    def acknowledged(self, request: Request) -> None:
        invite = self.invite
        assert invite is not None and request.cseq == invite.cseq
        for _, name in HEADERS.values():
            self.same(request, invite, name)
        if request.branch != invite.branch:
            self.is_connected = True

    @staticmethod
    def same(ack: Request, invite: Request, name: str) -> None:
        assert ack.headers.getlist(name) == invite.headers.getlist(name), name

    def judge(self, request: Request) -> tuple[int, str]:
        """Return a status and challenges, or nothing."""
        challenges: dict[Realm, str] = {}
        for realm in self.realms:
            challenge = self.ask(realm, request)
            if challenge:
                challenges[realm] = challenge
        asking = list(challenges)
        if not asking:
            return 0, ""
        if self.rng.random() < 0.5:
            asking = asking[:1]  # one proxy after the other
        for realm in asking:
            self._challenged.setdefault(realm, []).append(realm.nonce)
        status = self.rng.choice(asking).status
        return status, "".join(challenges[realm] for realm in asking)

    def ask(self, realm: Realm, request: Request) -> str:
        given, rng = realm.credentials(request), self.rng
        before = self._challenged.get(realm, [])
        if given is None:
            assert not before, "a challenge was not answered"
            realm.new_nonce()
            return realm.challenge(stale="")
        if not realm.is_right(request, given):
            realm.tries += 1
            if rng.random() < 0.5:
                realm.new_nonce()
            return realm.challenge(stale=rng.choice(("", "false")))
        if given["nonce"] != realm.nonce or (
            len(before) < 4 and rng.random() < realm.restlessness
        ):
            if given["nonce"] in before or rng.random() < 0.7:
                realm.new_nonce()
            # stale=true is optional; without it a second attempt is made, no third.
            said = ("true", "TRUE", "") if len(before) < 2 else ("true",)
            return realm.challenge(stale=rng.choice(said))
        return ""


class ChallengeTests(SynchronousTestCase):
    def world(self, **changes: Any) -> SipWorld:
        world = SipWorld(trunk=TRUNK, media_timeout_seconds=1000.0, **changes)
        world.reactor.names[TRUNK.host] = PEER[0]
        return world

    def nothing_is_left(self, world: SipWorld) -> None:
        world.advance(70, 0.5)
        self.assertEqual(set(world.carrier.counts().values()), {0})
        self.assertEqual(world.reactor.getDelayedCalls(), [])

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32))
    def test_with_the_right_password_every_request_passes(self, seed: int) -> None:
        rng = random.Random(seed)
        world = self.world()
        peer = Peer(world, rng, TRUNK.password)
        allow = rng.choice(("REFER", "REFER, UPDATE"))
        peer.headers = f"Allow: INVITE, {allow}\r\n"
        is_inbound = rng.random() < 0.3
        if is_inbound:
            # Without "Supported: timer", the gateway refreshes the session.
            world.established(headers=f"{peer.headers}Session-Expires: 100\r\n")
            leg = world.leg
            peer.is_connected = True
        else:
            peer.headers += "Session-Expires: 100;refresher=uac\r\n"
            leg = world.carrier.dial("+15550199")
            leg.dial()
            peer.run()
            self.assertEqual(peer.passed, ["INVITE"])
        self.assertTrue(peer.is_connected)
        for _ in range(rng.randrange(4)):
            peer.passed.clear()
            if rng.random() < 0.5:
                done = leg.transfer("+15550100")
                done.addErrback(lambda _: None)
                peer.run()
                self.assertEqual(peer.passed, ["REFER"])
                world.advance(0.1)
            else:
                world.advance(51, 1.0)
                peer.run()
                refresh = "UPDATE" if "UPDATE" in allow else "INVITE"
                self.assertIn(refresh, peer.passed)
        self.assertEqual(world.carrier.counts()["legs"], 1)
        leg.hang_up(Ending(Outcome.COMPLETED, "enough"))
        peer.run()
        self.assertEqual(peer.passed[-1:], ["BYE"])
        self.assertFalse(peer.is_connected)
        self.nothing_is_left(world)

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32))
    def test_with_a_wrong_password_it_ends_after_two_attempts(self, seed: int) -> None:
        rng = random.Random(seed)
        world = self.world()
        peer = Peer(world, rng, "another")
        world.carrier.dial("+15550199").dial()
        peer.run()
        self.assertEqual(peer.passed, [])
        self.assertTrue(all(1 <= realm.tries <= 2 for realm in peer.realms[:1]))
        self.assertFalse(peer.is_connected)
        self.assertEqual(world.log[-1][1].outcome, Outcome.UNANSWERED)
        self.nothing_is_left(world)

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32))
    def test_a_failed_request_does_not_affect_the_others(self, seed: int) -> None:
        """Only the requests after the INVITE are challenged, in vain at first."""
        rng = random.Random(seed)
        world = self.world()
        world.established(headers="Allow: REFER\r\n")
        peer = Peer(world, rng, "another")
        done = world.leg.transfer("+15550100")
        done.addErrback(lambda _: None)
        peer.run()
        tries = [realm.tries for realm in peer.realms]
        self.assertLessEqual(max(tries), 2)
        world.leg.hang_up(Ending(Outcome.COMPLETED, "enough"))
        for realm in peer.realms:
            realm.password = TRUNK.password
        peer._challenged.clear()
        peer.run()
        self.assertEqual(peer.passed, ["BYE"])
        self.nothing_is_left(world)

    def test_a_new_challenge_for_each_request_as_by_kamailio(self) -> None:
        """The case that was observed: a new nonce for the BYE, without stale=true."""
        world = self.world()
        leg = world.carrier.dial("+15550199")
        leg.dial()
        for number in (1, 2):
            request = world.heard()[-1]
            assert isinstance(request, Request)
            nonce = f'nonce="{number}"'
            challenge = f'Proxy-Authenticate: Digest realm="r", {nonce}, qop="auth"'
            world.answer(request, 407, headers=f"{challenge}\r\n")
            again = world.heard()[-1]
            assert isinstance(again, Request) and again.method == request.method
            value = again.headers["Proxy-Authorization"]
            self.assertIn(nonce, value)
            self.assertIn("nc=00000001", value)
            world.answer(again, 200, body=SDP if number == 1 else "")
            if number == 1:
                leg.hang_up(Ending(Outcome.COMPLETED, "enough"))
        self.assertFalse(any(isinstance(m, Response) for m in world.heard()))
