from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.settings.names import nearest, unknown_variables
from chime_gateway.settings.variables import NAMES
from tests.support.settings import AZURE, ConfigTestCase

OURS = sorted(name for name in NAMES if name.startswith(("CHIMEGW_", "AZURE_")))


@st.composite
def slips(draw: st.DrawFn) -> tuple[str, str]:
    """A name, and the same name with one wrong letter after its prefix."""
    name = draw(st.sampled_from(OURS))
    start = len("AZURE_OPENAI_" if name.startswith("AZURE_") else "CHIMEGW_")
    at = draw(st.integers(start + 1, len(name) - 1))
    letter = draw(st.sampled_from("QXZ"))
    kind = draw(st.sampled_from(("left out", "doubled", "wrong", "turned")))
    wrong = {
        "left out": name[:at] + name[at + 1 :],
        "doubled": name[:at] + name[at] + name[at:],
        "wrong": name[:at] + letter + name[at + 1 :],
        "turned": name[: at - 1] + name[at] + name[at - 1] + name[at + 1 :],
    }
    return name, wrong[kind]


class NearestTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(slips())
    def test_a_misspelt_name_is_reported_with_the_nearest_one(
        self, slip: tuple[str, str]
    ) -> None:
        name, wrong = slip
        if wrong in NAMES:
            return
        self.assertEqual(list(unknown_variables({wrong: "x"}, NAMES, ())), [wrong])
        self.assertEqual(nearest(wrong, NAMES), name)

    def test_a_name_of_another_program_leads_to_the_gateways(self) -> None:
        found = nearest("AZURE_OPENAI_DEPLOYMENT_NAME", NAMES)
        self.assertEqual(found, "AZURE_OPENAI_DEPLOYMENT")
        self.assertEqual(nearest("colour", ["agents", "limits"]), "")


class ForeignNameTests(ConfigTestCase):
    def test_an_unknown_name_in_an_env_file_is_refused(self) -> None:
        for name in ("AZURE_OPENAI_API_KY", "CHIMEGW_SHARED_SECRT"):
            self.refused(name, "did you mean", env_file=f"{name}=x")

    def test_an_unknown_name_in_the_environment_is_a_note(self) -> None:
        for name in ("AZURE_OPENAI_CHAT_DEPLOYMENT", "CHIMEGW_SHARED_SECRT"):
            found = self.load({**AZURE, name: "x"}).foreign
            self.assertEqual(len(found), 1)
            self.assertIn(name, found[0])
        limit = "CHIMEGW_MAX_CALLS"
        self.assertIn(
            "max_calls in [limits]", self.load({**AZURE, limit: "9"}).foreign[0]
        )
        self.refused(limit, "max_calls in [limits]", env_file=f"{limit}=9")
        two = {"CHIMEGW_SECRT": "x", limit: "9", "CHIMEGW_SHARED_SECRET": "short"}
        self.refused("CHIMEGW_SECRT", limit, env=two)
        env = {
            "AZURE_OPENAI_ENDPOINT": AZURE["AZURE_OPENAI_ENDPOINT"],
            "AZURE_OPENAI_DEPLOYMENT_NAME": "x",
        }
        self.refused("AZURE_OPENAI_DEPLOYMENT_NAME", "is not set", env=env)

    def test_variables_of_a_kubernetes_service_are_ignored(self) -> None:
        env = {
            "CHIMEGW_SERVICE_HOST": "10.0.0.1",
            "CHIMEGW_SERVICE_PORT": "8080",
            "CHIMEGW_SERVICE_PORT_HTTP": "8080",
            "CHIMEGW_PORT": "tcp://10.0.0.1:8080",
            "CHIMEGW_PORT_8080_TCP": "tcp://10.0.0.1:8080",
            "CHIMEGW_PORT_8080_TCP_PROTO": "tcp",
            "CHIMEGW_PORT_8080_TCP_ADDR": "10.0.0.1",
            "CHIMEGW_SIP_SERVICE_HOST": "10.0.0.2",
            "CHIMEGW_SIP_PORT": "udp://10.0.0.2:5060",
        }
        self.assertEqual(self.load({**AZURE, **env}).foreign, ())
        found = self.load({**AZURE, "CHIMEGW_PORT": "9000"}).foreign
        self.assertEqual(len(found), 1)

    def test_a_secret_that_the_file_names_is_known(self) -> None:
        toml = '[webhooks.crm]\nurl = "https://x"\nsecret = "env:CHIMEGW_CRM"\n'
        self.load({**AZURE, "CHIMEGW_CRM": "s"}, toml=toml)
