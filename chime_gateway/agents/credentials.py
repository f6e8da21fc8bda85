"""
How a connection to Azure proves who we are: a key, or Microsoft Entra ID.

Entra tokens come from azure-identity, which blocks, so it works in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed

from chime_gateway.errors import AgentUnavailable
from chime_gateway.settings.values import DeploymentSettings

#: ``twisted.internet.threads.deferToThread``, or the like.
InThread = Callable[..., "Deferred[Any]"]


class Credential(Protocol):
    def headers(self) -> Deferred[Mapping[str, str]]:
        """
        Headers for one handshake.

        The Deferred fails with L{AgentUnavailable} if there is no token.
        """


class ApiKey:
    """The key of the Azure resource."""

    def __init__(self, key: str) -> None:
        self._headers = {"api-key": key}

    def headers(self) -> Deferred[Mapping[str, str]]:
        return succeed(self._headers)


class EntraToken:
    """
    Whoever this process is to Entra: a managed identity, a workload identity,
    a service principal from C{AZURE_CLIENT_ID} and the like, or C{az login}.

    azure-identity keeps the token and renews it in good time.
    """

    def __init__(self, scope: str, in_thread: InThread) -> None:
        self._scope = scope
        self._in_thread = in_thread
        self._source: Any = None

    def headers(self) -> Deferred[Mapping[str, str]]:
        return Deferred.fromCoroutine(self._get())

    async def _get(self) -> Mapping[str, str]:
        # Imported when used: with a key nobody needs the 100 ms and the memory.
        from azure.core.exceptions import AzureError

        try:
            token = await self._in_thread(self._get_token)
        except AzureError as exc:
            first_line = str(exc).partition("\n")[0]
            raise AgentUnavailable(
                f"no Entra ID token for {self._scope}: {first_line}"
                " (set AZURE_OPENAI_API_KEY, or give this machine an identity"
                " with the role Cognitive Services OpenAI User)",
                misconfigured=True,
            ) from exc
        return {"Authorization": f"Bearer {token}"}

    def _get_token(self) -> str:
        if self._source is None:
            from azure.identity import DefaultAzureCredential

            self._source = DefaultAzureCredential()
        token: str = self._source.get_token(self._scope).token
        return token


def credential_for(deployment: DeploymentSettings, in_thread: InThread) -> Credential:
    if deployment.api_key:
        return ApiKey(deployment.api_key)
    return EntraToken(deployment.token_scope, in_thread)
