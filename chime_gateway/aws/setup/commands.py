"""
Prints the requests of an installation as AWS CLI commands, for operators who want to
see or run each of them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from botocore import xform_name

from chime_gateway.aws.setup.request import ZIP_FILE, InstallationRequest
from chime_gateway.aws.setup.resource import Blob, Request, Resource, references_in
from chime_gateway.aws.setup.voice_connector import STREAMING

#: The CLI's names of services, where they differ from the models' names.
_COMMANDS: Final[Mapping[str, str]] = {"s3": "s3api"}

#: A line is folded before an option that would exceed this width.
_WIDTH: Final = 78


def command(request: Request) -> str:
    """Return a request as a command line, in which the shell expands C{${NAME}}."""
    service = _COMMANDS.get(request.service, request.service)
    words = ["aws", service, xform_name(request.operation, "-")]
    for name, value in request.parameters.items():
        option = f"--{xform_name(name, '-')}"
        if name in request.secret:
            words += [option, '"${' + xform_name(name).upper() + '}"']
        elif isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        elif isinstance(value, Blob):
            words += [option, f"fileb://{value.file}"]
        elif isinstance(value, Mapping) and any(
            isinstance(one, Blob) for one in value.values()
        ):
            # lambda create-function has a separate option for the code.
            words += ["--zip-file", f"fileb://{ZIP_FILE}"]
        elif isinstance(value, Mapping | list | tuple):
            words += [option, _quoted(json.dumps(value, separators=(",", ":")))]
        else:
            words += [option, _quoted(str(value))]
    return _folded(words)


def _quoted(text: str) -> str:
    if not references_in(text):
        return shlex.quote(text)
    # Quoted so that the shell expands the references and nothing else.
    kept = re.sub(r'([\\"`])', r"\\\1", text)
    kept = re.sub(r"\$(?!\{[A-Z][A-Z0-9_]*\})", r"\\$", kept)
    return f'"{kept}"'


def _folded(words: Iterable[str]) -> str:
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > _WIDTH and word.startswith("--"):
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def script(
    installation: InstallationRequest, resources: Iterable[Resource]
) -> Iterator[str]:
    """
    Yield the lines of a shell script that creates the installation from scratch.
    """
    yield "#!/usr/bin/env bash"
    yield "# chime-gateway: what `chimegw aws apply` does, as AWS CLI commands."
    yield "# Run it only once: each command creates something new."
    yield "# `chimegw aws apply` can be repeated."
    yield "set -euo pipefail"
    yield f"export AWS_DEFAULT_REGION={shlex.quote(installation.region)}"
    yield "export AWS_PAGER="
    yield ""
    yield "# The Lambda's code:"
    yield f"chimegw aws package-lambda --output {ZIP_FILE}"
    secrets: list[str] = []
    for resource in resources:
        yield ""
        yield f"# {resource.what}"
        if resource.needs_confirmation:
            yield f"# {resource.needs_confirmation}"
            yield from (f"# {command(one)}" for one in resource.create)
            continue
        for name in resource.secrets:
            yield f'{name}="${{{name}:-$(openssl rand -hex 32)}}"'
            secrets.append(name)
        if resource.create:
            if resource.what == "Lambda":
                yield "# A new role needs some time until it can be used."
                yield 'sleep "${SETTLE_SECONDS:-10}"'
            yield from _capturing(resource.create[0], resource.created)
            if resource.what == "Lambda":
                name = resource.create[0].parameters["FunctionName"]
                yield f"aws lambda wait function-active-v2 --function-name {name}"
        elif resource.lookup.references:
            yield from _capturing(resource.lookup.request, resource.lookup.references)
        for setting in resource.settings:
            if resource.create and setting.is_born_so:
                continue
            yield f"# - {setting.what}"
            for request in setting.write:
                if "StreamingConfiguration" in request.operation:
                    yield from _streaming_truth()
                yield command(request)
    if installation.mode != "kinesis":
        for name in secrets:
            yield ""
            yield f"# The gateway needs CHIMEGW_{name}:"
            yield f'echo "CHIMEGW_{name}=${{{name}}}"'
        yield ""
        yield from _streaming_advice(installation)


def _capturing(request: Request, references: Mapping[str, str]) -> Iterator[str]:
    """Run a command and store the values that later commands need."""
    names, paths = list(references), list(references.values())
    if not names:
        yield command(request)
        return
    query = paths[0] if len(paths) == 1 else f"[{','.join(paths)}]"
    asked = f"{command(request)} \\\n    --output text --query {shlex.quote(query)}"
    if len(names) == 1:
        yield f"{names[0]}=$({asked})"
    else:
        # On separate lines, because a failure inside `read` would not end the script.
        yield f"FOUND=$({asked})"
        yield f'read -r {" ".join(names)} <<<"$FOUND"'


def _streaming_truth() -> Iterator[str]:
    yield "#   Streaming copies each leg of a call, one way, into Kinesis Video"
    yield "#   Streams. It has no WebSocket target and accepts no audio: the agent"
    yield "#   answers with PlayAudio, seconds later. For a real conversation, use"
    yield "#   SIP with the origination route above."


def _streaming_advice(installation: InstallationRequest) -> Iterator[str]:
    """Yield the command that switches streaming on, as a comment."""
    connector = installation.voice_connector_id or "${VOICE_CONNECTOR_ID}"
    request = Request(
        "chime-sdk-voice",
        "PutVoiceConnectorStreamingConfiguration",
        {"VoiceConnectorId": connector, "StreamingConfiguration": STREAMING},
    )
    yield "# Streaming is not part of this installation, and not needed for it."
    yield from _streaming_truth()
    yield "#   To switch it on anyway (for analytics, or for --mode kinesis):"
    yield from (f"# {line}" for line in command(request).split("\n"))
