# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proofs of identity that others than Vault give: signed JWTs, and an API server of Kubernetes that knows them."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


class Signer:
    """Signs with ES256; ``public`` is the key to check with, in PEM."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public = (
            self._key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def sign(self, **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": "tests", "iat": now, "nbf": now - 5, "exp": now + 3600, **claims}
        signed = f"{_part({'alg': 'ES256', 'typ': 'JWT'})}.{_part(body)}"
        both = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encoded(b''.join(number.to_bytes(32, 'big') for number in both))}"


def _part(value: dict[str, Any]) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@contextlib.contextmanager
def cluster(known: str, user: str) -> Iterator[str]:
    """The address of an API server that reviews tokens: one is known, as that of this user."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status: dict[str, Any] = {"authenticated": False, "error": "invalid bearer token"}
            if self.path.endswith("/tokenreviews") and review["spec"]["token"] == known:
                namespace = user.split(":")[2]
                groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
                status = {"authenticated": True, "user": {"username": user, "uid": "1-2-3", "groups": groups}}
            content = json.dumps({**review, "status": status}).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_message: object) -> None:
            """Nothing to say."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
