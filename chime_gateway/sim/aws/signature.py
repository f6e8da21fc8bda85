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
    "tagging": ("resourcegroupstaggingapi",),
}

#: Services of all regions are signed for the one that they are in; botocore, sent to an
#: address like ours, does not know which and signs for its own.
_GLOBAL: Final[Mapping[str, str]] = {"iam": "us-east-1"}

_SCOPE: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request,"
    r" ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})\Z"
)


def services_of(request: Request) -> tuple[str, ...]:
    """Return the services that the request's signature may mean."""
    found = _SCOPE.match(request.headers.get("authorization", ""))
    return _SERVICES.get(found[4], (found[4],)) if found else ()


def check_signature(
    request: Request, secrets: Mapping[str, str], host: str, region: str
) -> None:
    """
    Check that a request is signed with a known key.

    @param secrets: the secret keys by access key.
    @param region: where the services are.
    @raise Fault: it is not signed, the key is unknown, the signature is wrong, or it is
        for another day, region or service.
    """
    found = _SCOPE.match(request.headers.get("authorization", ""))
    if found is None:
        raise Fault("MissingAuthenticationToken", "the request is not signed", 403)
    key, day, signed_for, name, signed, signature = found.groups()
    secret = secrets.get(key)
    if secret is None:
        raise Fault("InvalidClientTokenId", "the security token is invalid", 403)
    if signed_for != _GLOBAL.get(name):
        _check_scope(request, name, day, signed_for, region)
    token = request.headers.get("x-amz-security-token")
    kind = S3SigV4Auth if name == "s3" else SigV4Auth
    signer = kind(Credentials(key, secret, token), name, signed_for)
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


def _check_scope(
    request: Request, service: str, day: str, signed_for: str, region: str
) -> None:
    """
    A signature is for a day, a region and a service (AWS General Reference, "Elements
    of an AWS API request signature": the credential scope).

    @raise Fault: it is for another day or region.
    """
    if not request.headers.get("x-amz-date", "").startswith(day):
        text = "Date in Credential scope does not match the date of the request."
        raise Fault("InvalidSignatureException", text, 403)
    if signed_for == region:
        return
    if service == "s3":
        text = (
            "The authorization header is malformed; the region"
            f" '{signed_for}' is wrong; expecting '{region}'"
        )
        raise Fault("AuthorizationHeaderMalformed", text, 400)
    text = f"Credential should be scoped to a valid region, not '{signed_for}'."
    raise Fault("InvalidSignatureException", text, 403)
