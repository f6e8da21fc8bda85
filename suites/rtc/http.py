"""Single requests to the gateway."""

from __future__ import annotations

import asyncio

from attrs import frozen

SECONDS = 20.0


@frozen
class Response:
    """
    An answer.

    @ivar status: the HTTP status; 0: there was no answer.
    @ivar headers: by their names in lower case.
    """

    status: int
    headers: dict[str, str]
    body: str


async def ask(
    port: int, method: str, path: str, body: str | bytes = "", **headers: str
) -> Response:
    """
    Send a request.

    @param headers: an underscore in a name stands for a hyphen.
    """
    data = body.encode() if isinstance(body, str) else body
    fields = {"Host": f"127.0.0.1:{port}", "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    fields["Content-Length"] = str(len(data))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer = None
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + data)
            text = (await reader.read()).decode(errors="replace")
    except (OSError, TimeoutError) as error:
        return Response(0, {}, repr(error))
    finally:
        if writer is not None:
            writer.close()
    head, _, said = text.partition("\r\n\r\n")
    first, *rest = head.split("\r\n")
    if not first.startswith("HTTP/"):
        return Response(0, {}, text)
    pairs = (line.partition(":") for line in rest)
    found = {name.lower(): value.strip() for name, _, value in pairs}
    return Response(int(first.split()[1]), found, said)


async def offer(port: int, description: str) -> Response:
    return await ask(
        port, "POST", "/webrtc/offer", description, Content_Type="application/sdp"
    )
