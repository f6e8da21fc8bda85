"""Converts values of botocore's shapes from and to JSON, XML and query strings."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

# -- read --------------------------------------------------------------------------


def scalar(shape: Any, text: str) -> Any:
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


def from_json(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if value is None:
        return None
    if kind == "structure" and isinstance(value, dict):
        return {
            name: from_json(member, value[member.serialization.get("name", name)])
            for name, member in shape.members.items()
            if value.get(member.serialization.get("name", name)) is not None
        }
    if kind == "list" and isinstance(value, list):
        return [from_json(shape.member, one) for one in value]
    if kind == "map" and isinstance(value, dict):
        return {key: from_json(shape.value, one) for key, one in value.items()}
    if kind == "blob" and isinstance(value, str):
        return base64.b64decode(value)
    if kind == "timestamp" and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return value


def from_query(shape: Any, flat: Mapping[str, str], prefix: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        dot = f"{prefix}." if prefix else ""
        found = {
            name: from_query(
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
            values.append(from_query(shape.member, flat, at))
    return scalar(shape, flat[prefix]) if prefix in flat else None


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def from_xml(shape: Any, element: ElementTree.Element) -> Any:
    kind = shape.type_name
    if kind == "structure":
        found: dict[str, Any] = {}
        for name, member in shape.members.items():
            wire = member.serialization.get("name", name)
            nodes = [node for node in element if _local(node.tag) == wire]
            if not nodes:
                continue
            if member.type_name == "list" and member.serialization.get("flattened"):
                found[name] = [from_xml(member.member, node) for node in nodes]
            else:
                found[name] = from_xml(member, nodes[0])
        return found
    if kind == "list":
        return [from_xml(shape.member, node) for node in element]
    return scalar(shape, element.text or "")


# -- written -----------------------------------------------------------------------


def as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def to_json(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return {
            shape.members[name].serialization.get("name", name): to_json(
                shape.members[name], one
            )
            for name, one in value.items()
        }
    if kind == "list":
        return [to_json(shape.member, one) for one in value]
    if kind == "map":
        return {key: to_json(shape.value, one) for key, one in value.items()}
    if kind == "blob":
        return base64.b64encode(as_bytes(value)).decode()
    if isinstance(value, datetime):
        if shape.serialization.get("timestampFormat") == "iso8601":
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        return value.timestamp()
    return value


def to_xml(parent: ElementTree.Element, shape: Any, value: Any) -> None:
    kind = shape.type_name
    if kind == "structure":
        for name, one in value.items():
            member = shape.members[name]
            wire = str(member.serialization.get("name", name))
            if member.type_name == "list" and member.serialization.get("flattened"):
                for item in one:
                    to_xml(ElementTree.SubElement(parent, wire), member.member, item)
            else:
                to_xml(ElementTree.SubElement(parent, wire), member, one)
    elif kind == "list":
        wire = str(shape.member.serialization.get("name", "member"))
        for item in value:
            to_xml(ElementTree.SubElement(parent, wire), shape.member, item)
    elif isinstance(value, datetime):
        parent.text = value.strftime("%Y-%m-%dT%H:%M:%SZ")
    elif isinstance(value, bool):
        parent.text = "true" if value else "false"
    else:
        parent.text = str(value)
