# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every object store against a real server of its protocol."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
