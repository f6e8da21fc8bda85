"""Call proofs: as our Lambda signs them, and as strangers modify them."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.aws.sma import prove
from chime_gateway.wire.sip.call_proof import SKEW_SECONDS, CallProofs

SECRET = "0123456789abcdef"
OTHER = "fedcba9876543210"
NOW = 1_764_000_000.0
VALID = 300.0

#: Characters that a header may contain.
values = st.text(st.characters(exclude_categories=("C", "Z")), max_size=40)


class CallProofTests(SynchronousTestCase):
    def fault(self, proof: str, **changes: str | float) -> str:
        asked: dict[str, str | float] = {
            "transaction_id": "t",
            "agent": "a",
            "call_id": "c",
            "now": NOW,
            **changes,
        }
        proofs = CallProofs([SECRET], VALID)
        return proofs.fault(proof, **asked)  # type: ignore[arg-type]

    @settings(max_examples=60)
    @given(values, values, st.floats(-SKEW_SECONDS + 1, VALID - 1))
    def test_a_proof_signed_by_the_lambda_is_valid(
        self, transaction: str, agent: str, age: float
    ) -> None:
        for secret in (SECRET, f"{OTHER},{SECRET}", f"{SECRET},{OTHER}"):
            proof = prove(secret, transaction, agent, NOW)
            self.assertLess(len(proof), 120)
            self.assertEqual(
                self.fault(
                    proof, transaction_id=transaction, agent=agent, now=NOW + age
                ),
                "",
            )

    @settings(max_examples=100)
    @given(st.data())
    def test_anything_else_is_refused(self, data: st.DataObject) -> None:
        """Another call, another secret, another time, or any changed character."""
        proof = prove(SECRET, "t", "a", NOW)
        for changes in (
            {"transaction_id": data.draw(values.filter(lambda v: v != "t"))},
            {"agent": data.draw(values.filter(lambda v: v != "a"))},
            {"transaction_id": "t\na", "agent": ""},
            {"now": NOW + VALID + data.draw(st.floats(0.01, 1e9))},
            {"now": NOW - SKEW_SECONDS - data.draw(st.floats(0.01, 1e9))},
        ):
            self.assertNotEqual(self.fault(proof, **changes), "", changes)
        at = data.draw(st.integers(0, len(proof) - 1))
        other = data.draw(st.characters().filter(lambda c: c != proof[at]))
        bent = proof[:at] + other + proof[at + 1 :]
        cut = proof[: data.draw(st.integers(0, len(proof) - 1))]
        foreign = prove(OTHER, "t", "a", NOW)
        for wrong in (
            bent,
            cut,
            foreign,
            proof + "\n",
            proof * 2,
            data.draw(st.text()),
        ):
            self.assertNotEqual(self.fault(wrong), "", wrong)

    def test_a_used_proof_stays_used_with_another_secret(self) -> None:
        proofs = CallProofs([SECRET], VALID)
        of = {s: prove(s, "t", "a", NOW) for s in (SECRET, OTHER)}
        known = ("t", "a", "call", NOW)
        self.assertEqual(proofs.fault(of[SECRET], *known), "")
        proofs.settle(proofs.use(of[SECRET], *known), was_answered=True)
        proofs.change([OTHER], VALID)
        self.assertNotEqual(proofs.fault(of[SECRET], *known), "")
        self.assertEqual(proofs.fault(of[OTHER], *known), "used before")

    def test_its_size_and_its_time_are_limited(self) -> None:
        for proof in ("v1." + "9" * 5000 + ".x", "v1.\u0661.x", "." * 10**6):
            self.assertEqual(self.fault(proof), "malformed")
        self.assertEqual(self.fault(""), "missing")


class ProofMachine(RuleBasedStateMachine):
    """
    Proofs of several calls are used by anybody, while the clock advances and is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.proofs = CallProofs([SECRET], VALID, most=5)
        self.signed: list[tuple[str, str]] = []
        self.taken: dict[str, str] = {}
        self.under_way: dict[str, bytes] = {}
        self.answered: set[str] = set()
        self.was_set_back = False

    @rule(transaction=st.integers(0, 3))
    def sign(self, transaction: int) -> None:
        self.now += 0.01
        self.signed.append(
            (prove(SECRET, str(transaction), "", self.now), str(transaction))
        )

    @rule(seconds=st.sampled_from((100.0, VALID, 1000.0)))
    def go_on(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from((200.0, 1000.0)))
    def set_back(self, seconds: float) -> None:
        self.now -= seconds
        self.was_set_back = True

    @rule(seconds=st.sampled_from((VALID + 1, 1000.0)))
    def leap(self, seconds: float) -> None:
        """The clock is wrong for a moment, in which a call comes."""
        self.now += seconds
        self.call()
        self.set_back(seconds)

    @rule(which=st.integers(0, 3), call_id=st.sampled_from("ab"))
    def show(self, which: int, call_id: str) -> None:
        if not self.signed:
            return
        proof, transaction = self.signed[which % len(self.signed)]
        fault = self.proofs.fault(proof, transaction, "", call_id, self.now)
        if fault:
            return
        # Whatever the clock does: a proof is good for one call, which is answered once.
        assert self.taken.setdefault(proof, call_id) == call_id, "used twice"
        assert proof not in self.answered, "answered twice"
        assert proof not in self.under_way, "twice at once"
        digest = self.proofs.use(proof, transaction, "", call_id, self.now)
        self.under_way[proof] = digest
        assert len(self.proofs) <= 5

    @rule(is_answered=st.booleans())
    def settle(self, is_answered: bool) -> None:
        if self.under_way:
            proof, digest = self.under_way.popitem()
            self.proofs.settle(digest, was_answered=is_answered)
            if is_answered:
                self.answered.add(proof)

    @rule()
    def call(self) -> None:
        """A call with a new proof is accepted, and so is its repetition."""
        self.now += 0.01
        proof = prove(SECRET, "own", "", self.now)
        if self.was_set_back:
            # It may have to wait until the clock has caught up.
            if not self.proofs.fault(proof, "own", "", "own", self.now):
                digest = self.proofs.use(proof, "own", "", "own", self.now)
                self.proofs.settle(digest, was_answered=True)
            return
        for was_answered in (False, True):
            assert self.proofs.fault(proof, "own", "", "own", self.now) == ""
            digest = self.proofs.use(proof, "own", "", "own", self.now)
            self.proofs.settle(digest, was_answered=was_answered)
        assert self.proofs.fault(proof, "own", "", "other", self.now) == "used before"


class ProofMachineTests(SynchronousTestCase):
    def test_a_proof_is_good_for_one_call_whatever_the_clock_does(self) -> None:
        machine: Any = ProofMachine.TestCase()
        machine.settings = settings(max_examples=150, stateful_step_count=20)
        machine.runTest()
