"""Simulates the part of S3 that a gateway uses."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from chime_gateway.sim.aws.protocol import REGION, Fault

_Parameters = Mapping[str, Any]


class Files:
    """
    S3.

    @ivar buckets: name -> key -> content.
    @param wall_time: returns Unix seconds.
    @param region: where the buckets are.
    """

    def __init__(
        self, wall_time: Callable[[], float] = time.time, region: str = REGION
    ) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}
        self._wall_time = wall_time
        self._region = region
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
        """The region is named in the request, but for the first there was."""
        wanted = parameters.get("CreateBucketConfiguration", {})
        place = wanted.get("LocationConstraint", "")
        if place != ("" if self._region == REGION else self._region):
            code = "IllegalLocationConstraintException"
            if self._region == REGION:
                code = "InvalidLocationConstraint"
            raise Fault(code, f"The location constraint {place!r} is incompatible")
        self.buckets.setdefault(parameters["Bucket"], {})
        return {"Location": f"/{parameters['Bucket']}"}

    def _put(self, parameters: _Parameters) -> Any:
        body = parameters.get("Body", b"")
        self._bucket(parameters)[parameters["Key"]] = body
        self._written[parameters["Bucket"], parameters["Key"]] = self.now()
        return {"ETag": _etag(body)}

    def now(self) -> datetime:
        """S3 tells whole seconds."""
        return datetime.fromtimestamp(int(self._wall_time()), UTC)

    def described(self, bucket: str, key: str) -> dict[str, Any]:
        """
        Of a file that is there, what lists and heads say besides.  A file that was
        put there without a request is as old as the first look at it.
        """
        written = self._written.setdefault((bucket, key), self.now())
        return {"ETag": _etag(self.buckets[bucket][key]), "LastModified": written}

    def drop(self, bucket: str, key: str) -> None:
        """A file of that name is a new one from now on."""
        self.buckets[bucket].pop(key, None)
        self._written.pop((bucket, key), None)

    def _get(self, parameters: _Parameters) -> Any:
        body = self._bucket(parameters).get(parameters["Key"])
        if body is None:
            raise Fault("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": body, **self.described(parameters["Bucket"], parameters["Key"])}


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'
