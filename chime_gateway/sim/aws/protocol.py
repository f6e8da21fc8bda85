"""
The server's side of AWS' wire protocols, from botocore's own models.

A request becomes the name of an operation and its parameters, checked against the
model and by its signature; an answer is checked as well and becomes bytes.  What
an operation does is not known here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

from attrs import frozen
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.model import OperationModel, ServiceModel
from botocore.session import Session
from botocore.validate import ParamValidator

#: Everything here belongs to this account.
ACCOUNT: Final = "111122223333"
REGION: Final = "us-east-1"

#: The name in a signature -> the models that may be meant by it.
_SERVICES: Final[Mapping[str, tuple[str, ...]]] = {
    "chime": ("chime-sdk-voice",),
    "kinesisvideo": ("kinesisvideo", "kinesis-video-media"),
    "servicequotas": ("service-quotas",),
}

_SCOPE: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request,"
    r" ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})\Z"
)


class Fault(Exception):
    """
    A refusal, as the service has it.

    @ivar code: C{NotFoundException} and the like.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@frozen
class Request:
    """One HTTP request."""

    method: str
    target: str  #: path and query
    headers: Mapping[str, str]  #: names in lower case
    body: bytes


@frozen
class Operation:
    """What is asked for."""

    service: str
    name: str
    parameters: dict[str, Any]


_SESSION: Final = Session()


@cache
def model_of(service: str) -> ServiceModel:
    return _SESSION.get_service_model(service)


def services_of(request: Request) -> tuple[str, ...]:
    """The services that may be meant, by the request's signature."""
    found = _SCOPE.match(request.headers.get("authorization", ""))
    return _SERVICES.get(found[4], (found[4],)) if found else ()


def check_signature(request: Request, secrets: Mapping[str, str], host: str) -> None:
    """
    @param secrets: by access key.
    @raise Fault: not signed, or not by somebody who is known.
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


def read_request(request: Request, services: tuple[str, ...]) -> Operation:
    """
    @raise Fault: there is no such operation, or its parameters are wrong.
    """
    for service in services:
        model = model_of(service)
        found = _route(model, request)
        if found is not None:
            break
    else:
        raise Fault("UnknownOperationException", "there is no such operation", 404)
    operation, labels = found
    shape = operation.input_shape
    parameters = _decode(model, operation, request, labels) if shape else {}
    if shape is not None:
        report = ParamValidator().validate(parameters, shape)
        if report.has_errors():
            code = "BadRequestException"
            if model.metadata["protocol"] == "query":
                code = "ValidationError"
            raise Fault(code, report.generate_report())
    return Operation(service, operation.name, parameters)


def write_answer(
    operation: Operation, answer: Mapping[str, Any]
) -> tuple[int, dict[str, str], bytes]:
    """
    @raise AssertionError: the answer is none that the service could give.
    """
    model = model_of(operation.service)
    described = model.operation_model(operation.name)
    status = int(described.http.get("responseCode", 200))
    protocol = model.metadata["protocol"]
    shape = described.output_shape
    if shape is None:
        body = b"" if protocol != "query" else _query_answer(operation.name, None, {})
        return status, {}, body
    report = ParamValidator().validate(dict(answer), shape)
    assert not report.has_errors(), f"{operation.name}: {report.generate_report()}"
    headers: dict[str, str] = {}
    rest = {}
    for name, value in answer.items():
        member = shape.members[name]
        where = member.serialization.get("location")
        if where == "header":
            headers[member.serialization["name"]] = str(value)
        elif where is None:
            rest[name] = value
    payload = shape.serialization.get("payload")
    if payload is not None:
        member = shape.members[payload]
        value = rest.get(payload)
        if member.type_name in ("blob", "string"):
            return status, headers, _bytes(value or b"")
        shape, rest = member, value or {}
    if protocol == "query":
        return status, headers, _query_answer(operation.name, shape, rest)
    if protocol == "rest-xml":
        root = ElementTree.Element(shape.serialization.get("name", shape.name))
        _to_xml(root, shape, rest)
        return status, headers, ElementTree.tostring(root)
    headers["content-type"] = "application/json"
    return status, headers, json.dumps(_to_json(shape, rest)).encode()


def write_fault(
    fault: Fault, services: tuple[str, ...]
) -> tuple[int, dict[str, str], bytes]:
    protocol = model_of(services[0]).metadata["protocol"] if services else "json"
    if protocol in ("query", "rest-xml"):
        error = ElementTree.Element("Error")
        ElementTree.SubElement(error, "Code").text = fault.code
        ElementTree.SubElement(error, "Message").text = fault.message
        root = error
        if protocol == "query":
            root = ElementTree.Element("ErrorResponse")
            root.append(error)
            ElementTree.SubElement(root, "RequestId").text = "0"
        return fault.status, {}, ElementTree.tostring(root)
    body = {"__type": fault.code, "Code": fault.code, "Message": fault.message}
    body["message"] = fault.message
    headers = {"x-amzn-errortype": fault.code, "content-type": "application/json"}
    return fault.status, headers, json.dumps(body).encode()


# -- which operation -------------------------------------------------------------


def _route(
    model: ServiceModel, request: Request
) -> tuple[OperationModel, dict[str, str]] | None:
    protocol = model.metadata["protocol"]
    if protocol == "json":
        name = request.headers.get("x-amz-target", "").rpartition(".")[2]
    elif protocol == "query":
        name = dict(parse_qsl(request.body.decode())).get("Action", "")
    else:
        return _route_by_path(model, request)
    return (model.operation_model(name), {}) if name in model.operation_names else None


@cache
def _paths(
    service: str,
) -> list[tuple[str, re.Pattern[str], dict[str, str], str]]:
    """Of every operation: method, path, fixed query, name; long paths first."""
    model = model_of(service)
    found = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.deprecated:
            continue  # its successor has the same path
        http = operation.http
        path, _, query = http["requestUri"].partition("?")
        pattern = re.sub(
            r"\\\{(\w+)(\\\+)?\\\}",
            lambda m: f"(?P<{m[1]}>{'.+' if m[2] else '[^/]+'})",
            re.escape(path.rstrip("/")),
        )
        fixed = dict(parse_qsl(query, keep_blank_values=True))
        found.append((http["method"], re.compile(pattern + r"/?\Z"), fixed, name))
    return sorted(found, key=lambda f: (-len(f[2]), -len(f[1].pattern)))


def _route_by_path(
    model: ServiceModel, request: Request
) -> tuple[OperationModel, dict[str, str]] | None:
    parts = urlsplit(request.target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for method, pattern, fixed, name in _paths(model.service_name):
        found = pattern.match(parts.path)
        is_it = found and method == request.method
        if found and is_it and all(query.get(k) == v for k, v in fixed.items()):
            operation = model.operation_model(name)
            if _lacks_header(operation, request):
                continue  # of two with one path (CopyObject, PutObject)
            labels = {k: unquote(v) for k, v in found.groupdict().items()}
            return operation, labels
    return None


def _lacks_header(operation: OperationModel, request: Request) -> bool:
    shape = operation.input_shape
    required = shape.required_members if shape is not None else ()
    places = [shape.members[name].serialization for name in required]
    return any(
        place["name"].lower() not in request.headers
        for place in places
        if place.get("location") == "header"
    )


# -- parameters ------------------------------------------------------------------


def _decode(
    model: ServiceModel,
    operation: OperationModel,
    request: Request,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    shape = operation.input_shape
    protocol = model.metadata["protocol"]
    if protocol == "query":
        flat = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        value = _from_query(shape, flat, "")
        return value if isinstance(value, dict) else {}
    if protocol == "json":
        decoded = _from_json(shape, _json(request.body))
        return decoded if isinstance(decoded, dict) else {}
    parameters: dict[str, Any] = {}
    pairs = parse_qsl(urlsplit(request.target).query, keep_blank_values=True)
    in_body = {}
    for name, member in shape.members.items():
        where = member.serialization.get("location")
        wire = member.serialization.get("name", name)
        if where == "uri":
            parameters[name] = _scalar(member, labels[wire])
        elif where == "querystring":
            values = [value for key, value in pairs if key == wire]
            if values and member.type_name == "list":
                parameters[name] = [_scalar(member.member, v) for v in values]
            elif values:
                parameters[name] = _scalar(member, values[0])
        elif where == "header" and wire.lower() in request.headers:
            parameters[name] = _scalar(member, request.headers[wire.lower()])
        elif where is None:
            in_body[name] = member
    payload = shape.serialization.get("payload")
    if payload is not None:
        member = shape.members[payload]
        if member.type_name == "blob":
            parameters[payload] = request.body
        elif member.type_name == "string":
            parameters[payload] = request.body.decode()
        elif request.body:
            parameters[payload] = _from_body(protocol, member, request.body)
    elif in_body and request.body:
        body = _json(request.body)
        for name, member in in_body.items():
            wire = member.serialization.get("name", name)
            if wire in body:
                parameters[name] = _from_json(member, body[wire])
    return parameters


def _from_body(protocol: str, shape: Any, body: bytes) -> Any:
    if protocol == "rest-xml":
        return _from_xml(shape, ElementTree.fromstring(body))
    return _from_json(shape, _json(body))


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError as exc:
        raise Fault("SerializationException", f"no JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise Fault("SerializationException", "no JSON object")
    return value


def _scalar(shape: Any, text: str) -> Any:
    kind = shape.type_name
    if kind in ("integer", "long"):
        return int(text)
    if kind in ("float", "double"):
        return float(text)
    if kind == "boolean":
        return text == "true"
    if kind == "blob":
        return base64.b64decode(text)
    return text


def _from_json(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if value is None:
        return None
    if kind == "structure" and isinstance(value, dict):
        return {
            name: _from_json(member, value[member.serialization.get("name", name)])
            for name, member in shape.members.items()
            if value.get(member.serialization.get("name", name)) is not None
        }
    if kind == "list" and isinstance(value, list):
        return [_from_json(shape.member, one) for one in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _from_json(shape.value, one) for key, one in value.items()}
    if kind == "blob" and isinstance(value, str):
        return base64.b64decode(value)
    if kind == "timestamp" and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return value


def _from_query(shape: Any, flat: Mapping[str, str], prefix: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        dot = f"{prefix}." if prefix else ""
        found = {
            name: _from_query(
                member, flat, dot + str(member.serialization.get("name", name))
            )
            for name, member in shape.members.items()
        }
        return {name: value for name, value in found.items() if value is not None}
    if kind == "list":
        inner = "" if shape.serialization.get("flattened") else ".member"
        values: list[Any] = []
        while True:
            at = f"{prefix}{inner}.{len(values) + 1}"
            if not any(key == at or key.startswith(at + ".") for key in flat):
                return values or None
            values.append(_from_query(shape.member, flat, at))
    return _scalar(shape, flat[prefix]) if prefix in flat else None


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _from_xml(shape: Any, element: ElementTree.Element) -> Any:
    kind = shape.type_name
    if kind == "structure":
        found: dict[str, Any] = {}
        for name, member in shape.members.items():
            wire = member.serialization.get("name", name)
            nodes = [node for node in element if _local(node.tag) == wire]
            if not nodes:
                continue
            if member.type_name == "list" and member.serialization.get("flattened"):
                found[name] = [_from_xml(member.member, node) for node in nodes]
            else:
                found[name] = _from_xml(member, nodes[0])
        return found
    if kind == "list":
        return [_from_xml(shape.member, node) for node in element]
    return _scalar(shape, element.text or "")


# -- answers ---------------------------------------------------------------------


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _to_json(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return {
            shape.members[name].serialization.get("name", name): _to_json(
                shape.members[name], one
            )
            for name, one in value.items()
        }
    if kind == "list":
        return [_to_json(shape.member, one) for one in value]
    if kind == "map":
        return {key: _to_json(shape.value, one) for key, one in value.items()}
    if kind == "blob":
        return base64.b64encode(_bytes(value)).decode()
    if isinstance(value, datetime):
        if shape.serialization.get("timestampFormat") == "iso8601":
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        return value.timestamp()
    return value


def _query_answer(name: str, shape: Any, value: Mapping[str, Any]) -> bytes:
    root = ElementTree.Element(f"{name}Response")
    if shape is not None:
        wrapper = shape.serialization.get("resultWrapper", f"{name}Result")
        _to_xml(ElementTree.SubElement(root, wrapper), shape, value)
    metadata = ElementTree.SubElement(root, "ResponseMetadata")
    ElementTree.SubElement(metadata, "RequestId").text = "0"
    return ElementTree.tostring(root)


def _to_xml(parent: ElementTree.Element, shape: Any, value: Any) -> None:
    kind = shape.type_name
    if kind == "structure":
        for name, one in value.items():
            member = shape.members[name]
            wire = str(member.serialization.get("name", name))
            if member.type_name == "list" and member.serialization.get("flattened"):
                for item in one:
                    _to_xml(ElementTree.SubElement(parent, wire), member.member, item)
            else:
                _to_xml(ElementTree.SubElement(parent, wire), member, one)
    elif kind == "list":
        wire = str(shape.member.serialization.get("name", "member"))
        for item in value:
            _to_xml(ElementTree.SubElement(parent, wire), shape.member, item)
    elif isinstance(value, datetime):
        parent.text = value.strftime("%Y-%m-%dT%H:%M:%SZ")
    elif isinstance(value, bool):
        parent.text = "true" if value else "false"
    else:
        parent.text = str(value)


def policy_document(text: str) -> dict[str, Any]:
    """
    An IAM or resource policy.

    @raise Fault: it is none.
    """
    try:
        document = json.loads(text)
        statements = document["Statement"]
    except (ValueError, TypeError, KeyError) as exc:
        raise Fault("MalformedPolicyDocument", f"no policy: {exc}") from exc
    for statement in statements:
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise Fault("MalformedPolicyDocument", "a statement without an effect")
        if not statement.get("Action"):
            raise Fault("MalformedPolicyDocument", "a statement without an action")
    result: dict[str, Any] = document
    return result


def missing(what: str, code: str = "NotFoundException", status: int = 404) -> Fault:
    return Fault(code, f"{what} does not exist", status)


def tag_map(tags: list[dict[str, str]]) -> dict[str, str]:
    """Tags come as pairs."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
