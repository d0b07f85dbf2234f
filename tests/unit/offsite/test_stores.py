# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every object store against a real server of its protocol."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import json
import os
import socket
import ssl
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.destination import Destination, open_store
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.faults import (
    DamagedObjectError,
    MissingObjectError,
    OffsiteError,
    PermissionRefusedError,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.store import ObjectStore

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "testbed"))
from object_servers import SERVERS, Server, UnavailableError, served

LARGE = 20_000_000


@pytest.fixture(scope="module", params=sorted(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(request.param)
    try:
        with SERVERS[request.param](folder) as started:
            yield started
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def store(server: Server) -> ObjectStore:
    return open_store(Destination(server.url, **server.options))


def written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def test_objects_are_stored_found_fetched_and_deleted(store: ObjectStore, tmp_path: Path) -> None:
    small, large = os.urandom(900), os.urandom(LARGE)
    assert store.peek("packs/ab/small.age") is None
    store.put("packs/ab/small.age", written(tmp_path / "small", small))
    store.put("packs/cd/large.age", written(tmp_path / "large", large))
    store.put("packs/ab/empty.age", written(tmp_path / "empty", b""))
    for name, content in {"packs/ab/small.age": small, "packs/cd/large.age": large, "packs/ab/empty.age": b""}.items():
        peek = store.peek(name)
        assert peek is not None and (peek.size, peek.beginning) == (len(content), content[:4096])
        store.get(name, tmp_path / "fetched", LARGE)
        assert (tmp_path / "fetched").read_bytes() == content
    if store.can_list:
        sizes = {"packs/ab/empty.age": 0, "packs/ab/small.age": len(small), "packs/cd/large.age": LARGE}
        assert dict(store.list("packs/")) == sizes
        assert dict(store.list("packs/ab/")) == {name: size for name, size in sizes.items() if "ab" in name}
        assert list(store.list("other/")) == []
    other = os.urandom(1000)
    store.put("packs/ab/small.age", written(tmp_path / "small", other))
    store.get("packs/ab/small.age", tmp_path / "fetched", LARGE)
    assert (tmp_path / "fetched").read_bytes() == other
    with pytest.raises(DamagedObjectError, match="larger than it can be"):
        store.get("packs/cd/large.age", tmp_path / "fetched", 1000)
    for name in ("packs/ab/small.age", "packs/cd/large.age", "packs/ab/empty.age", "packs/ab/never.age"):
        store.delete(name)
        assert store.peek(name) is None
    with pytest.raises(MissingObjectError):
        store.get("packs/ab/small.age", tmp_path / "fetched", LARGE)


@pytest.mark.parametrize("server", ["azure", "gcs", "s3"], indirect=True)
def test_a_bucket_that_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    assert server.absent is not None
    store = open_store(Destination(server.absent, **server.options))
    with pytest.raises(OffsiteError, match="no such bucket") as listed:
        list(store.list("packs/"))
    with pytest.raises(OffsiteError, match="no such bucket"):
        store.put("packs/ab/object.age", written(tmp_path / "object", b"content"))
    assert "no-such-bucket" in str(listed.value) or "absent" in str(listed.value)


@pytest.mark.parametrize("server", ["azure", "gcs", "plain-http", "s3", "webdav"], indirect=True)
def test_an_endpoint_that_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    gone = {**server.options, "endpoint": "http://127.0.0.1:1/devstoreaccount1"}
    url = server.url if "://" in server.url and not server.url.startswith("http") else "http://127.0.0.1:1/fleet"
    with pytest.raises(OffsiteError, match="does not answer as it should"):
        open_store(Destination(url, patience=1, **gone)).put("object.age", written(tmp_path / "object", b"content"))


@contextlib.contextmanager
def credentials_are_checked(server: Server) -> Iterator[None]:
    """Moto looks at credentials on request only; the others always do."""
    if server.kind != "s3":
        yield
        return

    def after(actions: bytes) -> None:
        reset = urllib.request.Request(f"{server.options['endpoint']}/moto-api/reset-auth", actions)
        reset.add_header("Content-Type", "text/plain")
        urllib.request.urlopen(reset).close()

    after(b"0")
    try:
        yield
    finally:
        after(b"inf")


@pytest.mark.parametrize("server", ["azure", "gcs", "plain-http", "s3", "webdav"], indirect=True)
def test_wrong_credentials_are_said_and_not_shown(server: Server, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    right = Path(server.options["credentials_file"]).read_text()
    secret = "AAAAsecret"
    with credentials_are_checked(server), served(Forbids) as forbidding:
        if server.kind == "azure":
            wrong.write_text(right.replace("AccountKey=", f"AccountKey={secret}00"))
        elif server.kind == "gcs":
            wrong.write_text(right)
        elif server.kind == "s3":
            wrong.write_text(right.replace("not/shown/anywhere", secret))
        else:
            wrong.write_text(f"Bearer {secret}\n")
        options = {**server.options, "credentials_file": str(wrong)}
        if server.kind == "gcs":
            options["endpoint"] = f"http://127.0.0.1:{forbidding}"
        with pytest.raises(PermissionRefusedError, match="refuses to") as refused:
            store = open_store(Destination(server.url, **options))
            store.put("object.age", written(tmp_path / "object", b"content"))
    assert secret not in str(refused.value) and refused.value.__cause__ is None


class Forbids(http.server.BaseHTTPRequestHandler):
    """What Google answers to an account without permission; its emulator looks at no credentials."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"error": {"code": 403, "message": "no storage.objects.create access"}}).encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_unused: Any) -> None:
        """Nobody reads it."""


class TlsProxy(threading.Thread):
    """TLS with a certificate of its own authority in front of a port."""

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(daemon=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        (folder / "key.pem").write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.ca_file, folder / "key.pem")
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.join()

    def _pass(self, client: socket.socket) -> None:
        try:
            with self._context.wrap_socket(client, server_side=True) as tls:
                with socket.create_connection(("127.0.0.1", self._to)) as server:
                    back = threading.Thread(target=_copy, args=(server, tls), daemon=True)
                    back.start()
                    _copy(tls, server)
                    back.join()
        except OSError:
            # A client that does not trust us goes away.
            return


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        for piece in iter(lambda: source.recv(65536), b""):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.mark.parametrize("server", ["azure", "gcs", "plain-http", "s3"], indirect=True)
def test_a_private_authority_is_trusted_when_it_is_named(server: Server, tmp_path: Path) -> None:
    proxy = TlsProxy(server.port, tmp_path)
    proxy.start()
    try:
        old, new = f"http://127.0.0.1:{server.port}", f"https://127.0.0.1:{proxy.port}"
        options = {name: value.replace(old, new) for name, value in server.options.items()}
        if server.kind == "azure":
            options["endpoint"] = f"{new}/devstoreaccount1"
        url = server.url.replace(old, new)
        with pytest.raises(OffsiteError):
            open_store(Destination(url, patience=1, **options)).put("o.age", written(tmp_path / "o", b"content"))
        store = open_store(Destination(url, ca_file=str(proxy.ca_file), **options))
        store.put("o.age", written(tmp_path / "o", b"content"))
        peek = store.peek("o.age")
        assert peek is not None and peek.beginning == b"content"
        with pytest.raises(OffsiteError, match="certificates cannot be read"):
            open_store(Destination(url, ca_file="/nonexistent", **options))
    finally:
        proxy.stop()
