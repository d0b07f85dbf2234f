# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder in memory for tests of secret files, and an encrypted file to fill them from."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.memory_storage import storage_of


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder of one's own on a tmpfs that is there already; skips where there is none."""
    for place in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm"):
        if place and os.access(place, os.W_OK) and storage_of(os.stat(place).st_dev).memory:
            break
    else:
        pytest.skip("neither $XDG_RUNTIME_DIR nor /dev/shm is memory-backed and writable")
    folder = Path(tempfile.mkdtemp(prefix="continuity-test-", dir=place))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class AgeBox:
    """``secrets.age`` in a folder, with the key that opens it."""

    def __init__(self, folder: Path) -> None:
        age = pytest.importorskip("pyrage", reason="the Python package pyrage is not installed")
        pytest.importorskip("yaml", reason="the Python package PyYAML is not installed")
        self._encrypt = age.encrypt
        self._key = age.x25519.Identity.generate()
        self.file, self.identity = folder / "secrets.age", folder / "identity.txt"
        self.identity.write_text(str(self._key))
        self.identity.chmod(0o400)

    @property
    def source(self) -> dict[str, Any]:
        return {"kind": "age", "file": str(self.file), "identity_files": [str(self.identity)]}

    def put(self, values: Mapping[str, str]) -> list[dict[str, str]]:
        """Encrypt these; returns how they are declared."""
        lines = [f"  {name}: {json.dumps(value)}\n" for name, value in values.items()]
        self.file.write_bytes(self._encrypt(f"fleet:\n{''.join(lines) or '  {}'}".encode(), [self._key.to_public()]))
        return [{"name": name, "path": "fleet", "field": name} for name in values]
