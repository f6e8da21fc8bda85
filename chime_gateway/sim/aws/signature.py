"""
Checks a request's signature (AWS' Signature Version 4), and reads from it which
service the request is for.

botocore signs the request again; the two signatures must be equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from chime_gateway.sim.aws.protocol import Fault, Request

#: The service's name in a signature -> the models that it may mean.
_SERVICES: Final[Mapping[str, tuple[str, ...]]] = {
    "chime": ("chime-sdk-voice",),
    "kinesisvideo": ("kinesisvideo", "kinesis-video-media"),
    "servicequotas": ("service-quotas",),
}

_SCOPE: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request,"
    r" ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})\Z"
)


def services_of(request: Request) -> tuple[str, ...]:
    """Return the services that the request's signature may mean."""
    found = _SCOPE.match(request.headers.get("authorization", ""))
    return _SERVICES.get(found[4], (found[4],)) if found else ()


def check_signature(request: Request, secrets: Mapping[str, str], host: str) -> None:
    """
    Check that a request is signed with a known key.

    @param secrets: the secret keys by access key.
    @raise Fault: it is not signed, the key is unknown, or the signature is wrong.
    """
    found = _SCOPE.match(request.headers.get("authorization", ""))
    if found is None:
        raise Fault("MissingAuthenticationToken", "the request is not signed", 403)
    key, _, region, name, signed, signature = found.groups()
    secret = secrets.get(key)
    if secret is None:
        raise Fault("InvalidClientTokenId", "the security token is invalid", 403)
    token = request.headers.get("x-amz-security-token")
    kind = S3SigV4Auth if name == "s3" else SigV4Auth
    signer = kind(Credentials(key, secret, token), name, region)
    url = f"http://{host}{request.target}"
    again = AWSRequest(request.method, url, data=request.body)
    for header in signed.split(";"):
        again.headers[header] = request.headers.get(header, "")
    again.context["timestamp"] = request.headers.get("x-amz-date", "")
    payload = signer.payload
    hashed = request.headers.get("x-amz-content-sha256")
    if hashed:
        signer.payload = lambda _: hashed
    canonical = signer.canonical_request(again)
    signer.payload = payload
    if signer.signature(signer.string_to_sign(again, canonical), again) != signature:
        raise Fault("SignatureDoesNotMatch", "the signature does not match", 403)
