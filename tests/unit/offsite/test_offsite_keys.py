# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials from files, and what an age file says of its own size."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.offsite import credentials, encryption
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.faults import (
    DamagedObjectError,
    OffsiteError,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.store import Peek

pyrage = pytest.importorskip("pyrage", reason="the Python package pyrage is not installed")
PIECE = 64 * 1024
SECRET = "kept/secret"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".aws").mkdir(parents=True)
    return tmp_path / "home"


def peek_of(content: bytes) -> Peek:
    return Peek(len(content), content[:4096])


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 1_000_000])
@pytest.mark.parametrize("keys", [1, 3, 60])
def test_the_size_of_an_age_file_is_known_to_the_byte(size: int, keys: int) -> None:
    """60 recipients make a header that goes beyond what is looked at: then only its order is known."""
    recipients = [pyrage.x25519.Identity.generate().to_public() for _unused in range(keys)]
    sealed = pyrage.encrypt(bytes(size), recipients)
    assert encryption.plausible(len(sealed), size) and encryption.fault(peek_of(sealed), size) == ""
    assert len(sealed) <= encryption.most(size)
    if keys < 60:
        for other in (sealed[:-1], sealed + b"x", sealed[:100]):
            assert encryption.fault(peek_of(other), size)
        assert encryption.fault(peek_of(sealed), size + 1)
    assert encryption.fault(peek_of(b"x" * len(sealed)), size) == "The object is not an age file"
    assert encryption.fault(peek_of(b""), size)


def test_ssh_keys_are_recipients_and_identities_too(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    openssh = serialization.PrivateFormat.OpenSSH
    (tmp_path / "id").write_bytes(key.private_bytes(serialization.Encoding.PEM, openssh, serialization.NoEncryption()))
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    (tmp_path / "recipients").write_text(f"# the operator\n{public.decode()} operator@host\n")
    (tmp_path / "plain").write_bytes(b"content")
    encryption.read_recipients([], str(tmp_path / "recipients")).encrypt(tmp_path / "plain", tmp_path / "sealed")
    opened = encryption.read_identities([str(tmp_path / "id")])
    opened.decrypt(tmp_path / "sealed", tmp_path / "back", "object")
    assert (tmp_path / "back").read_bytes() == b"content"
    for content in (b"", b"garbage", (tmp_path / "sealed").read_bytes()[:-1]):
        (tmp_path / "sealed").write_bytes(content)
        with pytest.raises(DamagedObjectError):
            opened.decrypt(tmp_path / "sealed", None, "object")


def test_an_aws_file_is_read_by_profile(tmp_path: Path, home: Path) -> None:
    file = home / ".aws" / "credentials"
    assert credentials.aws(None, "default") is None
    file.write_text(
        f"[default]\naws_access_key_id = A\naws_secret_access_key = {SECRET}\n"
        f"[far]\naws_access_key_id = B\naws_secret_access_key = {SECRET}\naws_session_token = T\n[empty]\n"
    )
    (home / ".aws" / "config").write_text("[default]\nregion = eu-1\n[profile far]\nregion = eu-2\n")
    default, far = credentials.aws(None, "default"), credentials.aws(str(file), "far")
    assert default is not None and (default.key_id, default.token, default.region) == ("A", None, "eu-1")
    assert far is not None and (far.key_id, far.secret, far.token, far.region) == ("B", SECRET, "T", "eu-2")
    assert SECRET not in repr(far)
    for profile in ("absent", "empty"):
        with pytest.raises(OffsiteError, match=profile):
            credentials.aws(str(file), profile)
    file.write_text(f"aws_secret_access_key {SECRET}\n")
    with pytest.raises(OffsiteError) as refused:
        credentials.aws(str(file), "default")
    assert SECRET not in str(refused.value) and refused.value.__cause__ is None


def test_a_connection_string_is_read(tmp_path: Path) -> None:
    file = tmp_path / "connection"
    file.write_text(f"DefaultEndpointsProtocol=https;AccountName=fleet;AccountKey={SECRET}==;EndpointSuffix=x.y\n")
    assert credentials.azure(str(file))["AccountKey"] == SECRET + "=="
    file.write_text(f"BlobEndpoint=https://fleet.x.y/;SharedAccessSignature=sv=1&sig={SECRET}")
    assert credentials.azure(str(file))["SharedAccessSignature"] == f"sv=1&sig={SECRET}"
    for text in (SECRET, f"AccountName=fleet;Key={SECRET}", ""):
        file.write_text(text)
        with pytest.raises(OffsiteError, match="not a connection string") as refused:
            credentials.azure(str(file))
        assert SECRET not in str(refused.value)


def test_http_takes_a_netrc_file_or_a_header(tmp_path: Path, home: Path) -> None:
    file = tmp_path / "http"
    file.write_text(f"Bearer {SECRET}\n")
    assert credentials.http(str(file), "far") == f"Bearer {SECRET}"
    file.write_text(f"machine far login me password {SECRET}\nmachine other login x password y\n")
    basic = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert credentials.http(str(file), "far") == basic
    with pytest.raises(OffsiteError, match="no machine third"):
        credentials.http(str(file), "third")
    assert credentials.http(None, "far") is None
    (home / ".netrc").write_bytes(file.read_bytes())
    (home / ".netrc").chmod(0o600)
    assert credentials.http(None, "far") == basic and credentials.http(None, "third") is None
    file.write_text(f"machine far\nnonsense {SECRET}\n")
    with pytest.raises(OffsiteError, match="not a netrc file") as refused:
        credentials.http(str(file), "far")
    assert SECRET not in str(refused.value)
