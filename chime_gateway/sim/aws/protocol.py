"""
The server side of AWS' wire protocols, driven by botocore's models.

A request is converted to the name of an operation and its parameters, which are
checked against the model; a response is checked too and converted to bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

from attrs import frozen
from botocore.model import OperationModel, ServiceModel
from botocore.session import Session
from botocore.validate import ParamValidator

from chime_gateway.sim.aws import cbor
from chime_gateway.sim.aws.shapes import (
    as_bytes,
    from_json,
    from_query,
    from_xml,
    scalar,
    to_json,
    to_xml,
)

#: The account that owns everything in the simulator.
ACCOUNT: Final = "111122223333"

#: Where it is, unless a simulator is told otherwise.
REGION: Final = "us-east-1"

#: Smithy's RPC v2 in CBOR (smithy.io, "AWS RPC v2 CBOR").
_CBOR: Final = "smithy-rpc-v2-cbor"


_CBOR_HEADERS: Final[Mapping[str, str]] = {
    "content-type": "application/cbor",
    "smithy-protocol": "rpc-v2-cbor",
}


class Fault(Exception):
    """
    An error response of a service.

    @ivar code: the error code, such as C{NotFoundException}.
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
    """A requested operation with its parameters."""

    service: str
    name: str
    parameters: dict[str, Any]


_SESSION: Final = Session()


@cache
def model_of(service: str) -> ServiceModel:
    return _SESSION.get_service_model(service)


def _protocol(model: ServiceModel) -> str:
    """The protocol that botocore speaks with a service that has several."""
    return str(model.resolved_protocol)


def read_request(request: Request, services: tuple[str, ...]) -> Operation:
    """
    Read an operation from a request.

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
            if _protocol(model) == "query":
                code = "ValidationError"
            raise Fault(code, report.generate_report())
    return Operation(service, operation.name, parameters)


def write_answer(
    operation: Operation, answer: Mapping[str, Any]
) -> tuple[int, dict[str, str], bytes]:
    """
    Convert a response to status, headers and body.

    @raise AssertionError: the response does not match the service's model.
    """
    model = model_of(operation.service)
    described = model.operation_model(operation.name)
    status = int(described.http.get("responseCode", 200))
    protocol = _protocol(model)
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
            # Dates are in the form of RFC 9110 section 5.6.7.
            is_date = isinstance(value, datetime)
            text = format_datetime(value, usegmt=True) if is_date else str(value)
            headers[member.serialization["name"]] = text
        elif where is None:
            rest[name] = value
    payload = shape.serialization.get("payload")
    if payload is not None:
        member = shape.members[payload]
        value = rest.get(payload)
        if member.type_name in ("blob", "string"):
            return status, headers, as_bytes(value or b"")
        shape, rest = member, value or {}
    if protocol == "query":
        return status, headers, _query_answer(operation.name, shape, rest)
    if protocol == "rest-xml":
        root = ElementTree.Element(shape.serialization.get("name", shape.name))
        to_xml(root, shape, rest)
        return status, headers, ElementTree.tostring(root)
    if protocol == _CBOR:
        return status, dict(_CBOR_HEADERS), cbor.encode(to_json(shape, rest))
    headers["content-type"] = "application/json"
    return status, headers, json.dumps(to_json(shape, rest)).encode()


def write_fault(
    fault: Fault, services: tuple[str, ...]
) -> tuple[int, dict[str, str], bytes]:
    protocol = _protocol(model_of(services[0])) if services else "json"
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
    if protocol == _CBOR:
        return fault.status, dict(_CBOR_HEADERS), cbor.encode(body)
    headers = {"x-amzn-errortype": fault.code, "content-type": "application/json"}
    return fault.status, headers, json.dumps(body).encode()


# -- routing ---------------------------------------------------------------------


def _route(
    model: ServiceModel, request: Request
) -> tuple[OperationModel, dict[str, str]] | None:
    protocol = _protocol(model)
    if protocol == "json":
        name = request.headers.get("x-amz-target", "").rpartition(".")[2]
    elif protocol == _CBOR:
        if request.headers.get("smithy-protocol") != "rpc-v2-cbor":
            return None
        name = request.target.rpartition("/operation/")[2]
    elif protocol == "query":
        name = dict(parse_qsl(request.body.decode())).get("Action", "")
    else:
        return _route_by_path(model, request)
    return (model.operation_model(name), {}) if name in model.operation_names else None


@cache
def _paths(
    service: str,
) -> list[tuple[str, re.Pattern[str], dict[str, str], str]]:
    """Return method, path, fixed query and name of every operation, longest first."""
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
                continue  # two operations may share a path (CopyObject, PutObject)
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
    protocol = _protocol(model)
    if protocol == "query":
        flat = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        value = from_query(shape, flat, "")
        return value if isinstance(value, dict) else {}
    if protocol in ("json", _CBOR):
        read = _json if protocol == "json" else _cbor
        decoded = from_json(shape, read(request.body))
        return decoded if isinstance(decoded, dict) else {}
    parameters: dict[str, Any] = {}
    pairs = parse_qsl(urlsplit(request.target).query, keep_blank_values=True)
    in_body = {}
    for name, member in shape.members.items():
        where = member.serialization.get("location")
        wire = member.serialization.get("name", name)
        if where == "uri":
            parameters[name] = scalar(member, labels[wire])
        elif where == "querystring":
            values = [value for key, value in pairs if key == wire]
            if values and member.type_name == "list":
                parameters[name] = [scalar(member.member, v) for v in values]
            elif values:
                parameters[name] = scalar(member, values[0])
        elif where == "header" and wire.lower() in request.headers:
            parameters[name] = scalar(member, request.headers[wire.lower()])
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
                parameters[name] = from_json(member, body[wire])
    return parameters


def _from_body(protocol: str, shape: object, body: bytes) -> Any:
    if protocol == "rest-xml":
        return from_xml(shape, ElementTree.fromstring(body))
    return from_json(shape, _json(body))


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError as exc:
        raise Fault("SerializationException", f"not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise Fault("SerializationException", "not a JSON object")
    return value


def _cbor(body: bytes) -> dict[str, Any]:
    try:
        value = cbor.decode(body) if body else {}
    except ValueError as exc:
        raise Fault("SerializationException", f"not CBOR: {exc}") from exc
    if not isinstance(value, dict):
        raise Fault("SerializationException", "not a CBOR map")
    return value


# -- responses -------------------------------------------------------------------


def _query_answer(name: str, shape: Any, value: Mapping[str, Any]) -> bytes:
    root = ElementTree.Element(f"{name}Response")
    if shape is not None:
        wrapper = shape.serialization.get("resultWrapper", f"{name}Result")
        to_xml(ElementTree.SubElement(root, wrapper), shape, value)
    metadata = ElementTree.SubElement(root, "ResponseMetadata")
    ElementTree.SubElement(metadata, "RequestId").text = "0"
    return ElementTree.tostring(root)


def policy_document(text: str) -> dict[str, Any]:
    """
    Parse an IAM or resource policy.

    @raise Fault: it is malformed.
    """
    try:
        document = json.loads(text)
        statements = document["Statement"]
    except (ValueError, TypeError, KeyError) as exc:
        raise Fault("MalformedPolicyDocument", f"not a policy: {exc}") from exc
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
    """Convert tags from AWS' list of pairs."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
