"""
Checks the services that a gateway needs besides its deployments: the database, S3, the
servers of tools and webhooks, the SIP media application.  The only thing written is an
empty object in S3.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.threads import deferToThreadPool
from twisted.web.client import ResponseFailed

from chime_gateway.cli.online.finding import Finding
from chime_gateway.errors import ConfigError
from chime_gateway.net.http_client import HttpClient
from chime_gateway.net.http_failures import UNANSWERED, why
from chime_gateway.settings.convert import without_secrets
from chime_gateway.settings.tools import HttpTool
from chime_gateway.settings.values import GatewaySettings, StoreSettings

_SECONDS: Final = 10.0
_MARK: Final = ".chimegw-check"
_LOST: Final = (*UNANSWERED, ResponseFailed, TimeoutError, CancelledError, OSError)


class Services:
    """Checks the services that are configured."""

    def __init__(self, reactor: Any, settings: GatewaySettings) -> None:
        self._reactor = reactor
        self._settings = settings
        self._http = HttpClient(reactor, 1)

    async def ask(self) -> AsyncIterator[Finding]:
        settings = self._settings
        if settings.store is not None:
            yield await self._database(settings.store)
        if settings.recordings.is_s3:
            yield await self._s3()
        if settings.aws.sip_media_application_id:
            yield await self._application()
        for name, url in sorted(self._tools().items()):
            yield await self._server(f"tools.{name}.url", url)
        for hook in settings.webhooks:
            yield await self._server(f"webhooks.{hook.name}.url", hook.url)

    def close(self) -> Deferred[None]:
        return self._http.close()

    def _tools(self) -> dict[str, str]:
        """Return the URLs, by name, of the HTTP tools that a profile uses."""
        return {
            tool.name: tool.url
            for profile in self._settings.agents.values()
            for tool in profile.tools
            if isinstance(tool, HttpTool)
        }

    def _in_thread(
        self, function: Callable[..., object], *args: object
    ) -> Deferred[Any]:
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, function, *args)

    async def _database(self, store: StoreSettings) -> Finding:
        about = "CHIMEGW_DATABASE_URL"
        if store.database_url.startswith("sqlite:"):
            name = store.database_url.partition("///")[2]
            if not Path(name).exists():
                return Finding(about, f"{name} will be created at the start")
        said, is_there = await self._in_thread(_look_at, store)
        if is_there:
            return Finding(about, said)
        return Finding(
            about,
            said,
            "check that the server is running, that its firewall lets this machine in,"
            " and user, password and database name",
        )

    async def _s3(self) -> Finding:
        recordings = self._settings.recordings
        about = f"CHIMEGW_RECORDINGS {recordings.location}"
        bucket, _, prefix = recordings.location.removeprefix("s3://").partition("/")
        parameters = {
            "Bucket": bucket,
            "Key": f"{prefix.rstrip('/')}/{_MARK}".lstrip("/"),
            "Body": b"",
        }
        if recordings.encryption:
            parameters["ServerSideEncryption"] = recordings.encryption
            if recordings.kms_key:
                parameters["SSEKMSKeyId"] = recordings.kms_key
        fault = await self._aws("s3", "PutObject", parameters)
        if not fault:
            return Finding(about, f"it accepts files ({_MARK} was written there)")
        return Finding(
            about,
            fault,
            "allow this role s3:PutObject there; check the bucket's name and region",
        )

    async def _application(self) -> Finding:
        aws = self._settings.aws
        about = f"CHIMEGW_SMA_ID {aws.sip_media_application_id}"
        fault = await self._aws(
            "chime-sdk-voice",
            "GetSipMediaApplication",
            {"SipMediaApplicationId": aws.sip_media_application_id},
        )
        if not fault:
            return Finding(about, "it exists")
        if "AccessDenied" in fault or "Forbidden" in fault or "not authorized" in fault:
            return Finding(about, "not checked: this role may not read it")
        return Finding(
            about,
            fault,
            "set it, and AWS_REGION, to the values that chimegw aws apply prints",
        )

    async def _aws(self, service: str, operation: str, parameters: Any) -> str:
        """
        Call an operation of AWS.

        @return: what is wrong; empty if it succeeded.
        """
        from chime_gateway.net.aws.api import AwsApi
        from chime_gateway.net.aws.errors import AwsError

        try:
            api = AwsApi(
                region=self._settings.aws.region,
                in_thread=self._in_thread,
                reactor=self._reactor,
                clock=self._reactor,
                jitter=random.random,
            )
        except ConfigError as exc:
            return str(exc)
        try:
            await api.call(service, operation, parameters, attempts=1)
        except AwsError as exc:
            return str(exc) or type(exc).__name__
        finally:
            await api.close()
        return ""

    async def _server(self, key: str, url: str) -> Finding:
        """Check that there is a server; HEAD has no effect there."""
        about = f"{key} {without_secrets(url)[:80]}"
        asking = self._http.request("HEAD", url, {"user-agent": "chimegw-check"}, b"")
        asking.addTimeout(_SECONDS, self._reactor)
        try:
            answer = await asking
        except (
            *UNANSWERED,
            ResponseFailed,
            TimeoutError,
            CancelledError,
            OSError,
        ) as exc:
            said = why(exc) or f"no answer within {_SECONDS:.0f} s"
            return Finding(
                about,
                said,
                "check that the server is running, that this machine can reach it, and"
                " that its certificate is valid",
            )
        answer.abort()
        if answer.code >= 500:
            return Finding(
                about,
                f"it answers HEAD with status {answer.code}",
                "look into the server's log",
            )
        return Finding(about, f"it answers (status {answer.code} to HEAD)")


def _look_at(store: StoreSettings) -> tuple[str, bool]:
    """
    Check the database; called in a thread.

    @return: the result in words, and whether the database is available.
    """
    # Imported when used: SQLAlchemy takes time to load.
    from chime_gateway.store.database import Database, DatabaseUnavailable
    from chime_gateway.store.schema import WrongSchema

    try:
        database = Database(store.database_url, Path(store.state_directory))
    except ConfigError as exc:
        return str(exc), False
    try:
        database.check()
    except WrongSchema as exc:
        return f"it answers; {exc} (a start creates or upgrades the tables)", True
    except DatabaseUnavailable as exc:
        return str(getattr(exc, "orig", None) or exc), False
    finally:
        database.close()
    return "it answers, and its tables are up to date", True
