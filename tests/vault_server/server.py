# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Vault server for tests, in this process: real HTTP, TLS where wanted, state in memory.

    with VaultServer() as server:
        client = Client(server.address, server.root_token)

It answers the exchanges of ``tests/conformance`` as a real server does, statuses and error bodies included, in the
words of one of two generations (``profiles.py``). ``server.requests`` is what arrived, ``server.core.audit`` the
audit log, ``server.faults`` bends answers, ``server.node`` seals it or makes it a standby.
"""

from __future__ import annotations

import http
import http.server
import json
import socket
import ssl
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional
from urllib.parse import parse_qsl, unquote, urlsplit

from .core import Core, Node
from .faults import Fault, Faults
from .messages import Refusal, Reply, Request
from .profiles import CURRENT, Profile

LIMIT = 32 * 1024 * 1024
BUFFER = 2048


@dataclass(frozen=True)
class Tls:
    """Files of the server's certificate. ``old`` offers TLS 1.1 at most, ``client_required`` asks for one, too;
    ``authorities`` are files of those who sign certificates of clients."""

    certificate: Path
    key: Path
    authorities: tuple[Path, ...] = ()
    client_required: bool = False
    old: bool = False

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self.old:
            context.set_ciphers("DEFAULT@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.load_cert_chain(self.certificate, self.key)
        context.verify_mode = ssl.CERT_REQUIRED if self.client_required else ssl.CERT_OPTIONAL
        for authority in self.authorities:
            context.load_verify_locations(authority)
        return context


class VaultServer:
    """``core`` shares the state of another server, for clusters."""

    def __init__(
        self,
        profile: Profile = CURRENT,
        *,
        tls: Optional[Tls] = None,
        core: Optional[Core] = None,
        host: str = "127.0.0.1",
        limit: int = LIMIT,
    ) -> None:
        self.core = core or Core(profile)
        self.faults = Faults()
        self.requests: list[Request] = []
        self.connections = 0
        self.crashes: list[str] = []
        self.limit = limit
        self.context = tls.context() if tls else None
        self._http = _Listener((host, 0), self)
        scheme = "https" if tls else "http"
        self.address = f"{scheme}://{host}:{self._http.server_address[1]}"
        self.node = Node(self.address)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def root_token(self) -> str:
        return self.core.root

    def __enter__(self) -> VaultServer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; open connections are cut."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        self._http.cut()

    def administer(self, method: str, path: str, body: Optional[dict[str, Any]] = None, **headers: str) -> Any:
        """A request of the administrator that must succeed, past the network; its body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(method, path, {}, {"X-Vault-Token": self.root_token, **named}, body or {})
        reply = self.core.handle(request, self.node)
        assert reply.status in (200, 204), reply
        return reply.body

    def asked(self, pattern: str = "") -> list[str]:
        """``METHOD path`` of what arrived, those that contain a text."""
        lines = [f"{request.method} {request.path}" for request in self.requests]
        return [line for line in lines if pattern in line]

    def advance(self, passed: float) -> None:
        """Let time pass for the server."""
        self.core.skew += passed

    def trust(self, certificate: str) -> None:
        """Accept connections of clients with this certificate (PEM), whoever signed it."""
        if self.context is not None:
            self.context.load_verify_locations(cadata=certificate)


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], server: VaultServer) -> None:
        self.vault = server
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        with self._lock:
            left = list(self._open)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or that does not trust our certificate, is none of our errors."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        self.vault = self.server.vault
        if self.vault.context is not None:
            self.request = self.vault.context.wrap_socket(self.request, server_side=True)
        self.vault.connections += 1
        super().setup()

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length") or 0)
        if length > self.vault.limit:
            self.close_connection = True
            self._send(Refusal(413, "http: request body too large").reply())
            return
        self._answer(self.rfile.read(length))

    def _answer(self, content: bytes) -> None:
        parts = urlsplit(self.path)
        certificate = self.request.getpeercert(True) if isinstance(self.request, ssl.SSLSocket) else None
        request = Request(
            self.command,
            unquote(parts.path).removeprefix("/v1/"),
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            self.headers,  # type: ignore[arg-type]
            {},
            certificate,
        )
        self.vault.requests.append(request)
        try:
            request.body = json.loads(content) if content else {}
        except ValueError:
            self._send(Refusal(400, "error parsing JSON").reply())
            return
        fault = self.vault.faults.next(request)
        if fault is not None and fault.before is not None:
            fault.before()
        if fault is not None and fault.status is not None:
            content = fault.content(request)
            kind = {"Content-Type": fault.kind} if fault.kind else {}
            self._write(fault.status, content, {**kind, **fault.headers})
            return
        reply = self._routed(request)
        if request.path.startswith("auth/") and "certificate" in request.body and reply.status == 204:
            self.vault.trust(str(request.body["certificate"]))
        self._send(reply, fault)

    def _routed(self, request: Request) -> Reply:
        if not self.path.startswith("/v1/"):
            return Reply(404, {"errors": []})
        try:
            return self.vault.core.handle(request, self.vault.node)
        except Exception:  # a fault of this server is kept for the test to fail on, and must not look like a forced one
            self.vault.crashes.append(traceback.format_exc())
            return Reply(500, {"errors": ["internal error"]})

    def _send(self, reply: Reply, fault: Optional[Fault] = None) -> None:
        content = b"" if reply.body is None else json.dumps(reply.body, separators=(",", ":")).encode() + b"\n"
        headers = {"Cache-Control": "no-store", **reply.headers}
        if reply.typed:
            headers["Content-Type"] = "application/json"
        if fault is not None and fault.cut is not None:
            self.close_connection = True
            content = content[: fault.cut]
            self._write(reply.status, content, headers, promised=len(content) + fault.promise)
            return
        self._write(reply.status, content, headers, pace=fault.pace if fault else 0.0)

    def _write(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str],
        promised: Optional[int] = None,
        pace: float = 0.0,
    ) -> None:
        reasons = {472: "DR Secondary", 473: "Performance Standby"}
        reason = reasons.get(status) or http.HTTPStatus(status).phrase if status in (*reasons, *_KNOWN) else "Other"
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
        # As Go does it: what is longer than its buffer comes in chunks, whose length nobody knows beforehand.
        chunked = promised is None and len(content) > BUFFER and self.command != "HEAD"
        if chunked:
            lines.append("Transfer-Encoding: chunked")
            parts = [content[start : start + 4096] for start in range(0, len(content), 4096)]
            content = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))
        elif status != 204:
            lines.append(f"Content-Length: {len(content) if promised is None else promised}")
        if self.close_connection:
            lines.append("Connection: close")
        body = b"" if self.command == "HEAD" or status == 204 else content
        head = "\r\n".join([*lines, "", ""]).encode()
        if not pace:
            self.wfile.write(head + body)
            return
        self.wfile.write(head)
        for number in range(len(body)):
            time.sleep(pace)
            self.wfile.write(body[number : number + 1])


_KNOWN = {status.value for status in http.HTTPStatus}
