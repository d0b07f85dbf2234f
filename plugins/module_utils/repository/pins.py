# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins: snapshots that no retention may drop (docs/snapshot-format.md, section 1)."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from .layout import (
    LARGEST_CONFIG,
    Repository,
    canonical,
    is_digest,
    read_published,
    sha256,
    storing,
    sync_folder,
    timestamp,
)
from .manifests import Manifest


def pinned(repository: Repository) -> frozenset[str]:
    """The digests of the manifests that are pinned."""
    return frozenset(file.stem for file in repository.pins.glob("*.json") if is_digest(file.stem))


def pin(repository: Repository, manifest: Manifest, now: float) -> bool:
    """Pin a snapshot; False when it was. The caller holds the host's lock."""
    if manifest.digest in pinned(repository):
        return False
    with storing(repository.pins):
        document = {"host": manifest.host, "since": timestamp(now), "snapshot": manifest.digest}
        content = canonical({**document, "sha256": sha256(canonical(document))})
        repository.publish(file_of(repository, manifest.digest), content, manifest.host)
    return True


def unpin(repository: Repository, manifest: Manifest) -> bool:
    """Take a pin away; False when there was none. The caller holds the host's lock."""
    if manifest.digest not in pinned(repository):
        return False
    remove(repository, manifest.digest)
    return True


def remove(repository: Repository, digest: str) -> None:
    """Take a pin away, if there is one, of a snapshot that may be gone. The caller holds the host's lock."""
    with storing(repository.pins):
        with contextlib.suppress(FileNotFoundError):
            file_of(repository, digest).unlink()
            sync_folder(repository.pins)


def file_of(repository: Repository, digest: str) -> Path:
    return repository.pins / f"{digest}.json"


def fault(file: Path) -> str:
    """What is wrong with the file of a pin; empty when nothing is. What counts is that it is there."""
    try:
        return content_fault(read_published(file, LARGEST_CONFIG), file.stem)
    except OSError as error:
        return f"The pin cannot be read: {error.strerror}"


def content_fault(content: bytes, digest: str) -> str:
    """What is wrong with what a pin of this snapshot holds; empty when nothing is."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or content != canonical(document) or document.get("snapshot") != digest:
        return "The pin was changed"
    bare = {key: value for key, value in document.items() if key != "sha256"}
    # The first pins had no digest of their own, and exactly these keys.
    sound = document.get("sha256") == sha256(canonical(bare)) or sorted(document) == ["host", "since", "snapshot"]
    return "" if sound else "The pin was changed"
