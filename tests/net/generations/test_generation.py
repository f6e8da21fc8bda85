from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.generations.generation import GENERATION, new_generation


class GenerationTests(SynchronousTestCase):
    def test_names_are_well_formed_and_differ(self) -> None:
        made = {new_generation() for _ in range(100)}
        self.assertEqual(len(made), 100)
        self.assertTrue(all(GENERATION.fullmatch(one) for one in made))
