# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.1 with keep-alive for small services: one thread accepts, each connection has its own."""

import json
import select
import threading
from typing import Callable, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
LONGEST_LINE = 16 * 1024
LARGEST_BODY = 1024 * 1024
PATIENCE_SECONDS = 60.0


class Request(NamedTuple):
    method: str
    path: str
    query: dict
    body: bytes = b""


class Response(NamedTuple):
    status: int
    kind: str
    body: bytes


Answer = Callable[[Request], Response]


def as_json(document, status=200):
    return Response(status, "application/json", json.dumps(document).encode() + b"\n")


def as_text(text, status=200):
    return Response(status, "text/plain; version=0.0.4; charset=utf-8", text.encode())


def read_request(reader):
    """The next request (None when it is not HTTP as we speak it), and whether it is the last one on
    this connection; None at the end."""
    line = reader.readline(LONGEST_LINE)
    if not line:
        return None
    words = line.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None, True
    headers = {}
    while True:
        line = reader.readline(LONGEST_LINE)
        if line in (b"\r\n", b"\n"):
            break
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or len(headers) > 100:
            return None, True
        headers[name.strip().lower()] = value.strip()
    size = headers.get("content-length", "0")
    if not size.isdigit() or int(size) > LARGEST_BODY or "transfer-encoding" in headers:
        return None, True
    target = urlsplit(words[1])
    query = dict(parse_qsl(target.query, keep_blank_values=True))
    request = Request(words[0], unquote(target.path), query, reader.read(int(size)))
    wish = headers.get("connection", "").lower()
    return request, wish == "close" or (words[2] == "HTTP/1.0" and wish != "keep-alive")


def send(connection, response, last):
    head = (
        f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Unknown')}\r\n"
        f"Content-Type: {response.kind}\r\nContent-Length: {len(response.body)}\r\n"
        f"Connection: {'close' if last else 'keep-alive'}\r\n\r\n"
    )
    connection.sendall(head.encode() + response.body)


def converse(connection, answer, drain):
    """Serve one connection to its end, or to the answer that says so because we are draining."""
    with connection, connection.makefile("rb") as reader:
        try:
            connection.settimeout(PATIENCE_SECONDS)
            last = False
            while not last:
                received = read_request(reader)
                if received is None:
                    return
                with drain.in_flight:
                    request, last = received
                    response = answer(request) if request else as_json({"error": "not HTTP/1"}, 400)
                    last = last or drain.asked
                    send(connection, response, last)
        except (ConnectionError, TimeoutError):
            return  # the client went away, or said nothing for a minute
        finally:
            drain.closing(connection)


def accept(listeners, drain):
    """Accept on several listening sockets (socket to its Answer) until draining begins."""
    while True:
        ready, _unused, _unused = select.select([*listeners, drain.bell], [], [])
        if drain.bell in ready:
            for listener in listeners:
                listener.close()
            return
        for listener in ready:
            try:
                connection, _unused = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue  # our other instance was faster, or the client changed its mind
            connection.setblocking(True)
            drain.opened(connection)
            threading.Thread(target=converse, args=(connection, listeners[listener], drain), daemon=True).start()


def start_accepting(listeners, drain):
    thread = threading.Thread(target=accept, args=(listeners, drain), daemon=True)
    thread.start()
    return thread
