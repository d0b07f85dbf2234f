# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidecar of a file: ``<name>.checksum``, a JSON object."""

from __future__ import annotations

import json
import os
import re
from typing import Optional

SUFFIX = ".checksum"
ALGORITHM = "SHA-256"
KEYS = {"file_path", "checksum", "timestamp", "algorithm"}
_SHA256 = re.compile(r"[0-9a-f]{64}")


class SidecarError(ValueError):
    """This is not the sidecar of that file."""


def text(path: str, sha256: str, timestamp: str) -> str:
    """The sidecar of the file at ``path``. A name that is no UTF-8 is escaped as JSON escapes lone surrogates."""
    fields = {"file_path": path, "checksum": sha256, "timestamp": timestamp, "algorithm": ALGORITHM}
    return json.dumps(fields, indent=2) + "\n"


def read(path: str) -> Optional[str]:
    """The SHA-256 that the sidecar of ``path`` names; None without a sidecar. Raises SidecarError, OSError."""
    try:
        with open(path + SUFFIX, encoding="utf-8") as stream:
            fields = json.load(stream)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise SidecarError("it is not valid JSON") from error
    if not isinstance(fields, dict) or not set(fields) >= KEYS:
        raise SidecarError(f"it does not have the keys {', '.join(sorted(KEYS))}")
    if fields["algorithm"] != ALGORITHM or not _SHA256.fullmatch(str(fields["checksum"])):
        raise SidecarError(f"it does not hold a {ALGORITHM} checksum")
    if os.path.basename(str(fields["file_path"])) != os.path.basename(path):
        raise SidecarError(f"it speaks of another file: {fields['file_path']}")
    return str(fields["checksum"])
