# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every object store against a real server of its protocol."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

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
from object_servers import SERVERS, Server, UnavailableError

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


@pytest.mark.parametrize("server", ["azure", "plain-http", "webdav"], indirect=True)
def test_wrong_credentials_are_said_and_not_shown(server: Server, tmp_path: Path) -> None:
    """The emulators of S3 and of Google Cloud Storage look at no credentials."""
    wrong = tmp_path / "wrong"
    if server.kind == "azure":
        text = Path(server.options["credentials_file"]).read_text()
        wrong.write_text(text.replace("AccountKey=", "AccountKey=AAAA"))
    else:
        wrong.write_text("Bearer wrong-and-secret\n")
    options = {**server.options, "credentials_file": str(wrong)}
    with pytest.raises(PermissionRefusedError) as refused:
        store = open_store(Destination(server.url, **options))
        store.put("object.age", written(tmp_path / "object", b"content"))
    assert "secret" not in str(refused.value) and "AAAA" not in str(refused.value)


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
