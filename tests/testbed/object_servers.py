# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers of the protocols of object stores, on free ports of this machine.

S3 by moto, Google Cloud Storage by its emulator, Azure Blob by azurite, WebDAV by wsgidav, and a plain
HTTP server that knows GET, HEAD, PUT and DELETE only. Each leaves files with credentials in ``folder``.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import hmac
import http.server
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional
from urllib.parse import unquote

CHECKOUT = Path(__file__).resolve().parents[2]
AZURITE = "azurite@3.35.0"
_AZURITE_HOME = CHECKOUT / ".cache" / "azurite"
_ACCOUNT = "devstoreaccount1"
_KEY = base64.b64encode(hashlib.sha512(b"a key of this test bed").digest()).decode()
USER, PASSWORD = "sender", "of-the-test-bed"


class UnavailableError(Exception):
    """This server cannot be had here; the text says why."""


@dataclass(frozen=True)
class Server:
    """``url`` is a destination with a bucket that exists, ``absent`` one with a bucket that does not (None:
    this protocol knows no buckets); ``options`` are the other fields of a destination."""

    kind: str
    url: str
    absent: Optional[str]
    port: int
    options: dict[str, str]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(folder: Path, port: int, *argv: str, env: Optional[dict[str, str]] = None) -> Iterator[None]:
    """A server process until the block ends; it answers when the block begins."""
    with open(folder / f"{Path(argv[0]).name}-{port}.log", "wb") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **(env or {})},
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{argv[0]} did not start:\n{Path(log.name).read_text()}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _needed(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise UnavailableError(f"the Python package with {module} is not installed")


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[Server]:
    _needed("obstore", "moto", "flask")
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    keys = folder / "s3-credentials"
    keys.write_text(
        "[default]\naws_access_key_id = AKIAWRONG\naws_secret_access_key = wrong\n"
        "[copy]\naws_access_key_id = AKIACOPY\naws_secret_access_key = not/shown/anywhere\n"
    )
    with running(folder, port, _tool("moto_server"), "-H", "127.0.0.1", "-p", str(port)):
        request = urllib.request.Request(f"{endpoint}/bucket", method="PUT")
        request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=AKIACOPY/20260101/us-east-1/s3/aws4_request")
        urllib.request.urlopen(request).close()
        options = {"endpoint": endpoint, "credentials_file": str(keys), "profile": "copy"}
        yield Server("s3", "s3://bucket/fleet/pc2", "s3://no-such-bucket/pc2", port, options)


@contextlib.contextmanager
def gcs(folder: Path) -> Iterator[Server]:
    _needed("google.cloud.storage", "gcp_storage_emulator")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {
        "type": "service_account",
        "project_id": "fleet",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "sender@fleet.example",
        "token_uri": "http://127.0.0.1:1/token",
        # Any other than Google's own: then requests are signed here, and nobody is asked beyond this machine.
        "universe_domain": "fleet.example",
    }
    (folder / "service-account.json").write_text(json.dumps(account))
    port = free_port()
    argv = [_tool("gcp-storage-emulator"), "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(folder, port, *argv, "--in-memory", "--default-bucket", "bucket"):
        options = {
            "endpoint": f"http://127.0.0.1:{port}",
            "credentials_file": str(folder / "service-account.json"),
        }
        yield Server("gcs", "gs://bucket/fleet/pc2", "gs://no-such-bucket/pc2", port, options)


def _azurite() -> str:
    """The program, installed once below .cache/ where npm can reach its registry."""
    found = shutil.which("azurite-blob")
    if found:
        return found
    program = _AZURITE_HOME / "node_modules" / ".bin" / "azurite-blob"
    if program.exists():
        return str(program)
    if shutil.which("npm") is None:
        raise UnavailableError("azurite is not installed, and there is no npm to install it")
    _AZURITE_HOME.mkdir(parents=True, exist_ok=True)
    aside = _AZURITE_HOME / f"install-{os.getpid()}"
    aside.mkdir()
    argv = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--silent",
        "--prefix",
        str(aside),
        AZURITE,
    ]
    try:
        installed = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
        if installed.returncode != 0:
            raise UnavailableError(f"npm cannot install {AZURITE}: {installed.stderr.strip()[-300:]}")
        with contextlib.suppress(OSError):
            os.rename(aside / "node_modules", _AZURITE_HOME / "node_modules")
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"npm did not install {AZURITE} within 300 s") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return str(program)


@contextlib.contextmanager
def azure(folder: Path) -> Iterator[Server]:
    _needed("obstore")
    program = _azurite()
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
    keys = folder / "connection-string"
    keys.write_text(
        f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={endpoint};\n"
    )
    argv = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck"]
    telemetry = ["--disableTelemetry"]
    with running(folder, port, program, *argv, *telemetry, env={"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_KEY}"}):
        _make_container(endpoint, "container")
        yield Server("azure", "az://container/fleet/pc2", "az://absent/pc2", port, {"credentials_file": str(keys)})


def _make_container(endpoint: str, name: str) -> None:
    version, date = "2021-08-06", email.utils.formatdate(usegmt=True)
    signed = (
        f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n"
        f"/{_ACCOUNT}/{_ACCOUNT}/{name}\nrestype:container"
    )
    signature = base64.b64encode(hmac.digest(base64.b64decode(_KEY), signed.encode(), "sha256")).decode()
    request = urllib.request.Request(f"{endpoint}/{name}?restype=container", method="PUT")
    request.add_header("x-ms-date", date)
    request.add_header("x-ms-version", version)
    request.add_header("Authorization", f"SharedKey {_ACCOUNT}:{signature}")
    request.add_header("Content-Length", "0")
    urllib.request.urlopen(request).close()


@contextlib.contextmanager
def webdav(folder: Path) -> Iterator[Server]:
    _needed("wsgidav", "cheroot")
    port = free_port()
    (folder / "webdav").mkdir()
    config = {
        "host": "127.0.0.1",
        "port": port,
        "provider_mapping": {"/": str(folder / "webdav")},
        "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
        "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
        "server": "cheroot",
        "verbose": 1,
    }
    (folder / "wsgidav.json").write_text(json.dumps(config))
    netrc = folder / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    netrc.chmod(0o600)
    with running(folder, port, _tool("wsgidav"), "--config", str(folder / "wsgidav.json")):
        yield Server("webdav", f"http://127.0.0.1:{port}/fleet/pc2", None, port, {"credentials_file": str(netrc)})


class PlainHandler(http.server.BaseHTTPRequestHandler):
    """GET (with ranges), HEAD, PUT and DELETE of files below ``root``, for whoever sends ``authorization``."""

    protocol_version = "HTTP/1.1"
    root: Path
    authorization = "Bearer token of the test bed"

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self._allowed():
            self._file().parent.mkdir(parents=True, exist_ok=True)
            self._file().write_bytes(content)
            self._answer(201)

    def do_GET(self) -> None:
        if not self._allowed():
            return
        file = self._file()
        if not file.is_file():
            return self._answer(404)
        content = file.read_bytes()
        wanted = self.headers.get("Range")
        if wanted is None:
            return self._answer(200, content)
        first, last = wanted.removeprefix("bytes=").split("-")
        piece = content[int(first) : int(last) + 1]
        if not piece:
            return self._answer(416)
        return self._answer(
            206, piece, {"Content-Range": f"bytes {first}-{int(first) + len(piece) - 1}/{len(content)}"}
        )

    do_HEAD = do_GET

    def do_DELETE(self) -> None:
        if self._allowed():
            self._file().unlink(missing_ok=True)
            self._answer(204)

    def _allowed(self) -> bool:
        if self.headers.get("Authorization") == self.authorization:
            return True
        self._answer(401)
        return False

    def _file(self) -> Path:
        return self.root / unquote(self.path).strip("/")

    def _answer(self, status: int, content: bytes = b"", headers: Optional[dict[str, str]] = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_unused: Any) -> None:
        """Nobody reads it."""


@contextlib.contextmanager
def served(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[int]:
    """A handler behind a free port, in threads of this process."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def plain_http(folder: Path) -> Iterator[Server]:
    (folder / "plain").mkdir()
    header = folder / "authorization"
    header.write_text(PlainHandler.authorization + "\n")
    with served(type("Plain", (PlainHandler,), {"root": folder / "plain"})) as port:
        url = f"http://127.0.0.1:{port}/fleet/pc2"
        yield Server("plain-http", url, None, port, {"credentials_file": str(header)})


@contextlib.contextmanager
def directory(folder: Path) -> Iterator[Server]:
    (folder / "copy").mkdir()
    yield Server("directory", str(folder / "copy"), None, 0, {})


SERVERS = {
    "directory": directory,
    "s3": s3,
    "gcs": gcs,
    "azure": azure,
    "webdav": webdav,
    "plain-http": plain_http,
}
