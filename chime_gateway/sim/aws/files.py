"""What a bucket does (S3), as far as a gateway can tell."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from chime_gateway.sim.aws.protocol import Fault

_Parameters = Mapping[str, Any]


class Files:
    """
    S3.

    @ivar buckets: name -> key -> content.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}

    def operations(self) -> dict[str, Callable[[_Parameters], Any]]:
        return {
            "CreateBucket": self._create,
            "PutObject": self._put,
            "GetObject": self._get,
        }

    def fetch(self, bucket: str, key: str) -> bytes | None:
        return self.buckets.get(bucket, {}).get(key)

    def _bucket(self, parameters: _Parameters) -> dict[str, bytes]:
        if parameters["Bucket"] not in self.buckets:
            text = "The specified bucket does not exist"
            raise Fault("NoSuchBucket", text, 404)
        return self.buckets[parameters["Bucket"]]

    def _create(self, parameters: _Parameters) -> Any:
        self.buckets.setdefault(parameters["Bucket"], {})
        return {"Location": f"/{parameters['Bucket']}"}

    def _put(self, parameters: _Parameters) -> Any:
        body = parameters.get("Body", b"")
        self._bucket(parameters)[parameters["Key"]] = body
        return {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}

    def _get(self, parameters: _Parameters) -> Any:
        body = self._bucket(parameters).get(parameters["Key"])
        if body is None:
            raise Fault("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": body}
