"""The call secret at the Lambda and at the gateways, during a rotation."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.aws.setup.function import call_secret
from chime_gateway.aws.sma import prove, read_settings
from chime_gateway.wire.sip.call_proof import CallProofs
from tests.support.lambda_events import VC

NOW = 1_764_000_000.0


class SecretMachine(RuleBasedStateMachine):
    """An operator who runs the set-up command any number of times, and two gateways."""

    def __init__(self) -> None:
        super().__init__()
        self.of_lambda = call_secret("keep", "")
        self.of_gateways = [self.of_lambda, self.of_lambda]
        self.calls = 0

    @property
    def told(self) -> str:
        """Return what the command prints for gateways."""
        return self.of_lambda.partition(",")[0]

    @rule(what=st.sampled_from(("keep", "rotate")))
    def apply(self, what: str) -> None:
        self.of_lambda = call_secret(what, self.of_lambda)

    @rule(which=st.integers(0, 1), is_both=st.booleans())
    def restart_gateway(self, which: int, is_both: bool) -> None:
        """Restart a gateway with the printed secret, or with it and its present one."""
        before = self.of_gateways[which].partition(",")[0]
        both = is_both and before != self.told
        self.of_gateways[which] = f"{self.told},{before}" if both else self.told

    @precondition(
        lambda self: all(one.startswith(self.told) for one in self.of_gateways)
    )
    @rule()
    def retire(self) -> None:
        self.of_lambda = call_secret("retire", self.of_lambda)

    @invariant()
    def calls_are_accepted(self) -> None:
        read_settings({"VOICE_CONNECTOR_ARN": VC, "CALL_SECRET": self.of_lambda})
        proof = prove(self.of_lambda, "t", "", NOW)
        for gateway in self.of_gateways:
            proofs = CallProofs(gateway.split(","), 300.0)
            assert proofs.fault(proof, "t", "", "c", NOW) == ""


class CallSecretTests(SynchronousTestCase):
    def test_no_call_is_refused_during_a_rotation(self) -> None:
        machine: Any = SecretMachine.TestCase()
        machine.settings = settings(max_examples=40, stateful_step_count=15)
        machine.runTest()

    def test_a_retired_secret_is_no_longer_accepted(self) -> None:
        old = call_secret("keep", "")
        new = call_secret("retire", call_secret("rotate", old))
        self.assertNotEqual(new, old)
        proofs = CallProofs([new], 300.0)
        self.assertTrue(proofs.fault(prove(old, "t", "", NOW), "t", "", "c", NOW))
