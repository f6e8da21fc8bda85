"""C{chimegw aws package-lambda}: writes the Lambda to a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from chime_gateway.app.command_options import CommandOptions
from chime_gateway.aws.package import package_lambda
from chime_gateway.aws.setup.request import ZIP_FILE
from chime_gateway.errors import ConfigError


class PackageOptions(CommandOptions):
    synopsis = "[--output FILE.zip]"
    longdesc = "Build the Lambda's zip file; the same bytes for the same version."
    optParameters: ClassVar = [
        ["output", "o", ZIP_FILE, "Where to write it."],
        ["region", "r", None, "Not needed."],
        ["voice-connector-id", "v", None, "Not needed."],
    ]
    optFlags: ClassVar = [["json", None, "Print JSON."]]

    def run(self, reactor: Any) -> int:
        package = package_lambda()
        try:
            Path(self["output"]).write_bytes(package.content)
        except OSError as exc:
            raise ConfigError(
                f"--output {self['output']}: it cannot be written: {exc}"
            ) from exc
        told = {
            "file": self["output"],
            "bytes": len(package.content),
            "sha256": package.sha256,
            "handler": "sma.handler",
        }
        if self["json"]:
            print(json.dumps(told))
        else:
            print(
                f"{told['file']}: {told['bytes']} bytes, handler sma.handler,"
                f" CodeSha256 {package.sha256}"
            )
        return 0
