"""Builds the Lambda's zip file reproducibly: the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from importlib import resources
from typing import Final

from attrs import field, frozen

#: The earliest date that a zip file can represent.
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


@frozen
class Package:
    """
    The zip file.

    @ivar sha256: the digest as in Lambda's C{CodeSha256}, in base64.
    """

    content: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return base64.b64encode(hashlib.sha256(self.content).digest()).decode()


def package_lambda() -> Package:
    """Package L{chime_gateway.aws.sma} alone, as C{sma.py} at the root."""
    source = resources.files("chime_gateway.aws").joinpath("sma.py").read_bytes()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        # Not compressed, because the result differs between versions of zlib.
        entry = zipfile.ZipInfo("sma.py", _EPOCH)
        entry.external_attr = 0o100644 << 16
        entry.create_system = 3
        file.writestr(entry, source)
    return Package(target.getvalue())
