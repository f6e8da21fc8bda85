from __future__ import annotations

from typing import Any

from azure.core.exceptions import ClientAuthenticationError
from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.credentials import ApiKey, EntraToken, credential_for
from chime_gateway.errors import AgentUnavailable
from chime_gateway.settings.values import DeploymentSettings

SCOPE = "https://cognitiveservices.azure.com/.default"


def at_once(function: Any, *args: Any) -> Deferred[Any]:
    return execute(function, *args)


class Token:
    token = "eyJ"


class Source:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.scopes: list[str] = []

    def get_token(self, scope: str) -> Token:
        self.scopes.append(scope)
        if self.error is not None:
            raise self.error
        return Token()


class CredentialTests(SynchronousTestCase):
    def settings(self, key: str) -> DeploymentSettings:
        return DeploymentSettings(
            name="d", endpoint="https://x", deployment="y", api_key=key
        )

    def test_a_key_is_preferred_to_entra(self) -> None:
        credential = credential_for(self.settings("k"), at_once)
        self.assertEqual(self.successResultOf(credential.headers()), {"api-key": "k"})
        self.assertIsInstance(credential, ApiKey)
        self.assertIsInstance(credential_for(self.settings(""), at_once), EntraToken)

    def test_an_entra_token_is_a_bearer(self) -> None:
        credential = EntraToken(SCOPE, at_once)
        source = credential._source = Source()
        headers = self.successResultOf(credential.headers())
        self.assertEqual(headers, {"Authorization": "Bearer eyJ"})
        self.assertEqual(source.scopes, [SCOPE])

    def test_no_identity_is_a_configuration_error_that_says_what_to_do(self) -> None:
        credential = EntraToken(SCOPE, at_once)
        credential._source = Source(ClientAuthenticationError("no luck\nmany lines"))
        failure = self.failureResultOf(credential.headers(), AgentUnavailable)
        self.assertTrue(failure.value.misconfigured)
        self.assertIn("no luck (set AZURE_OPENAI_API_KEY", str(failure.value))
