"""
The AWS CLI for many commands: it is imported once, and each command runs in a fork of
that process.  Importing it takes longer than all that a command does.

C{python aws_cli.py serve SOCKET} starts that process, C{python aws_cli.py SOCKET
WORDS ...} runs a command with the caller's folder, environment and files.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable


def serve(path: str) -> None:
    from awscli.clidriver import create_clidriver

    driver = create_clidriver()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(16)
    # Children are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        asking, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            os._exit(_command(asking, driver.main))
        asking.close()


def _command(asking: socket.socket, run: Callable[[list[str]], int]) -> int:
    request, files, _, _ = socket.recv_fds(asking, 1 << 20, 3)
    words, folder, environment = json.loads(request)
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(folder)
    # Variables that the CLI has set on import stay.
    os.environ.update(environment)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 255
    try:
        status = run(words)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        asking.sendall(bytes([status & 0xFF]))
    return 0


def ask(path: str, words: list[str]) -> int:
    """@return: the status of the command."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        request = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(server, [request], [0, 1, 2])
        answer = server.recv(1)
    return answer[0] if answer else 255


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
