"""Simulates the part of S3 that a gateway uses."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from chime_gateway.sim.aws.protocol import Fault

_Parameters = Mapping[str, Any]


class Files:
    """
    S3.

    @ivar buckets: name -> key -> content.
    @param wall_time: returns Unix seconds.
    """

    def __init__(self, wall_time: Callable[[], float] = time.time) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}
        self._wall_time = wall_time
        self._written: dict[tuple[str, str], datetime] = {}

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
        now = datetime.fromtimestamp(self._wall_time(), UTC)
        self._written[parameters["Bucket"], parameters["Key"]] = now
        return {"ETag": _etag(body)}

    def described(self, bucket: str, key: str) -> dict[str, Any]:
        """Return the metadata of an existing object."""
        written = self._written.get((bucket, key))
        when = {} if written is None else {"LastModified": written}
        return {"ETag": _etag(self.buckets[bucket][key]), **when}

    def _get(self, parameters: _Parameters) -> Any:
        body = self._bucket(parameters).get(parameters["Key"])
        if body is None:
            raise Fault("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": body, **self.described(parameters["Bucket"], parameters["Key"])}


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'
