# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins: snapshots that no retention may drop (docs/snapshot-format.md, section 1)."""

from __future__ import annotations

import contextlib

from .layout import Repository, canonical, is_digest, storing, sync_folder, timestamp
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
        repository.publish(repository.pins / f"{manifest.digest}.json", canonical(document), manifest.host)
    return True


def unpin(repository: Repository, manifest: Manifest) -> bool:
    """Take a pin away; False when there was none. The caller holds the host's lock."""
    if manifest.digest not in pinned(repository):
        return False
    with storing(repository.pins):
        with contextlib.suppress(FileNotFoundError):
            (repository.pins / f"{manifest.digest}.json").unlink()
        sync_folder(repository.pins)
    return True
