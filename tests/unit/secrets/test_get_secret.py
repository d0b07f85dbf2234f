# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an agent looks for a secret, and what it is told when nobody has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from reading import bed

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import get_secret as file
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.get_secret import (
    SecretNotFoundError,
    get_secret,
    get_secret_bytes,
    vault_field,
)

NAME = "database_password"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Every place has it; a test takes away what it does not want."""
    found = {}
    for place in ("pointed", "credentials", "run"):
        (tmp_path / place).mkdir()
        found[place] = tmp_path / place / NAME
        found[place].write_text(f"from {place}\n")
    monkeypatch.setenv("DATABASE_PASSWORD_FILE", str(found["pointed"]))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    monkeypatch.setenv("DATABASE_PASSWORD", "from-environ")
    return found


def test_the_order(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> str:
        return get_secret(NAME, directory=str(places["run"].parent), vault=lambda name: f"{name} from Vault")

    assert look() == "from pointed"
    monkeypatch.delenv("DATABASE_PASSWORD_FILE")
    assert look() == "from credentials"
    places["credentials"].unlink()
    assert look() == "from run"
    places["run"].unlink()
    assert look() == f"{NAME} from Vault"


def test_nobody_has_it(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_PASSWORD_FILE")
    places["credentials"].unlink()
    places["run"].unlink()
    with pytest.raises(SecretNotFoundError) as failure:
        get_secret(NAME, directory=str(places["run"].parent))
    said = str(failure.value)
    for place in ("DATABASE_PASSWORD_FILE", str(places["credentials"]), str(places["run"]), "Vault"):
        assert place in said
    assert "from-environ" not in said and "not taken from the environment" in said
    with pytest.warns(UserWarning, match="environment"):
        assert get_secret(NAME, directory="/nonexistent", from_environment=True) == "from-environ"


def test_a_pointer_is_the_only_place(places: dict[str, Path]) -> None:
    places["pointed"].unlink()
    with pytest.raises(SecretNotFoundError, match="DATABASE_PASSWORD_FILE says"):
        get_secret(NAME, directory=str(places["run"].parent))


def test_an_empty_file_is_no_secret(places: dict[str, Path]) -> None:
    places["pointed"].write_text("\n")
    with pytest.raises(SecretNotFoundError, match="is empty at"):
        get_secret(NAME)


def test_what_is_there_and_cannot_be_read_is_an_error(places: dict[str, Path]) -> None:
    places["pointed"].unlink()
    places["pointed"].mkdir()
    with pytest.raises(IsADirectoryError):
        get_secret(NAME)


@pytest.mark.parametrize(("content", "text"), [("x\n", "x"), ("x\n\n", "x\n"), (" x ", " x "), ("x", "x")])
def test_text_comes_without_one_newline(places: dict[str, Path], content: str, text: str) -> None:
    places["pointed"].write_text(content)
    assert get_secret(NAME) == text and get_secret_bytes(NAME) == content.encode()


def test_bytes_that_are_no_text(places: dict[str, Path]) -> None:
    places["pointed"].write_bytes(b"\xff\xfecanary")
    assert get_secret_bytes(NAME) == b"\xff\xfecanary"
    with pytest.raises(ValueError, match="is no text") as failure:
        get_secret(NAME)
    assert "canary" not in str(failure.value) and failure.value.__context__ is None


@pytest.mark.parametrize("name", ["../etc/passwd", "/etc/passwd", "", ".", "..data", "a/b", "a\0b", "x" * 129])
def test_names_lead_nowhere_else(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a secret"):
        get_secret(name)


def test_the_file_stands_alone(tmp_path: Path) -> None:
    """Copied into a project, it needs nothing of ours."""
    (tmp_path / "get_secret.py").write_bytes(Path(file.__file__).read_bytes())
    (tmp_path / NAME).write_text("copied")
    program = f"from get_secret import get_secret; print(get_secret({NAME!r}, directory='.'))"
    ran = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert ran.stdout == "copied\n", ran.stderr


def test_vault_is_asked_for_one_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with bed(tmp_path) as vault:
        vault.put("fleet/database", password="from-v2")
        vault.put_old(NAME, value="from-v1")
        token = vault.file("token", vault.server.root_token)
        address = vault.server.address
        second = vault_field(address, "kv/data/fleet/database", "password", token_file=token)
        first = vault_field(address, "old/{name}", token_file=token)
        assert get_secret(NAME, directory="/nonexistent", vault=second) == "from-v2"
        assert get_secret(NAME, directory="/nonexistent", vault=first) == "from-v1"
        wrong = vault.file("wrong", "hvs.wrong-token-canary")
        for reader, said in (
            (vault_field(address, "kv/data/fleet/database", "user", token_file=token), "has no text in the field user"),
            (vault_field(address, "kv/data/nothing", token_file=token), "HTTP 404"),
            (vault_field(address, "kv/data/fleet/database", token_file=wrong), "HTTP 403"),
            (vault_field(address, "kv/data/x", token_file=str(tmp_path / "none")), "no token for Vault"),
            (vault_field("http://127.0.0.1:1", "kv/data/x", token_file=token), "ConnectionRefusedError"),
        ):
            with pytest.raises(SecretNotFoundError) as failure:
                get_secret(NAME, directory="/nonexistent", vault=reader)
            assert said in str(failure.value) and "canary" not in str(failure.value), str(failure.value)


def test_a_token_is_not_sent_in_clear(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="https only"):
        vault_field("http://vault.example:8200", "kv/data/x", token_file="/nonexistent")
    with pytest.raises(ValueError, match="https only"):
        vault_field("http://127.0.0.1.example", "kv/data/x", token_file="/nonexistent")
