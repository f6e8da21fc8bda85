"""
Builds and signs requests to AWS with botocore, without sending them.

botocore has the models, the endpoints, the credentials and the signature.  It builds
each request completely, and is stopped before it sends it.  All of this blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from botocore import xform_name
from botocore.config import Config
from botocore.model import OperationModel
from botocore.session import Session


@frozen
class SignedRequest:
    """
    A signed request that is ready to be sent.

    @ivar model: the operation's model, which is needed to parse the answer.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    model: OperationModel


class _ReadyToSend(Exception):
    """Raised inside botocore when it would send the request."""

    def __init__(self, request: Any) -> None:
        self.request = request


def _stop_here(request: Any, **_: Any) -> None:
    raise _ReadyToSend(request)


class Signer:
    """
    Signs requests; thread-safe.

    @param region: empty: botocore finds it (C{AWS_REGION}, its files).
    """

    def __init__(self, session: Session, region: str) -> None:
        self._session = session
        self._region = region
        self._clients: dict[tuple[str, str], Any] = {}
        self._linking: dict[str, Any] = {}
        self._lock = threading.Lock()

    def sign(
        self, service: str, operation: str, parameters: dict[str, Any], endpoint: str
    ) -> SignedRequest:
        """
        Build and sign one request.

        @param operation: its name in botocore's model (C{ReceiveMessage}).
        @param endpoint: empty: the model's endpoint.
        @raise BotoCoreError: the request cannot be built; there are no credentials.
        """
        client = self._client(service, endpoint)
        try:
            getattr(client, xform_name(operation))(**parameters)
        except _ReadyToSend as ready:
            request = ready.request
        else:
            raise AssertionError("botocore sent a request by itself")
        body = request.body
        if body is not None and not isinstance(body, (bytes, str)):
            body = body.read()
        headers = {
            name: value if isinstance(value, str) else value.decode("latin-1")
            for name, value in request.headers.items()
            # The HTTP client adds these.
            if name.lower() not in ("content-length", "expect", "host")
        }
        data = body.encode() if isinstance(body, str) else body or b""
        model = client.meta.service_model.operation_model(operation)
        return SignedRequest(request.method, request.url, headers, data, model)

    def link(
        self, service: str, operation: str, parameters: dict[str, Any], seconds: int
    ) -> str:
        """
        Make a presigned URL, which contains the request and its signature.

        @raise BotoCoreError: it cannot be made; there are no credentials.
        """
        with self._lock:
            client = self._linking.get(service)
            if client is None:
                # S3's default is the old signature version, which does not work for
                # objects encrypted with KMS.
                version = "s3v4" if service == "s3" else "v4"
                client = self._linking[service] = self._session.create_client(
                    service,
                    region_name=self._region or None,
                    config=Config(signature_version=version),
                )
        url: str = client.generate_presigned_url(
            xform_name(operation), Params=parameters, ExpiresIn=seconds
        )
        return url

    def _client(self, service: str, endpoint: str) -> Any:
        key = (service, endpoint)
        with self._lock:
            client = self._clients.get(key)
            if client is None:
                client = self._session.create_client(
                    service,
                    region_name=self._region or None,
                    endpoint_url=endpoint or None,
                    config=Config(retries={"max_attempts": 1, "mode": "standard"}),
                )
                client.meta.events.register_last("before-send", _stop_here)
                self._clients[key] = client
            return client
