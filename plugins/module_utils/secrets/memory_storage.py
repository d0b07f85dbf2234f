# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a folder's storage is memory, and a tmpfs of its own where it is to be.

Read from ``/proc/self/mountinfo`` by the number of the device (proc_pid_mountinfo(5)): beside the type of a file
system it tells ``noswap``, which statfs(2) does not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional

from ..effects import Runner
from .faults import SecretError

MOUNTS = "/proc/self/mountinfo"
SWAPS = "/proc/swaps"
SIZE = "64m"
_OPTIONS = f"mode=0711,nosuid,nodev,noexec,size={SIZE}"


@dataclass(frozen=True)
class Storage:
    """What a folder stands on. ``kind`` is None where it cannot be told."""

    kind: Optional[str]
    noswap: bool = False

    @property
    def memory(self) -> bool:
        return self.kind in ("tmpfs", "ramfs")

    @property
    def swappable(self) -> bool:
        return self.kind == "tmpfs" and not self.noswap


def storage_of(device: int, mounts: str = MOUNTS) -> Storage:
    """The storage with this ``st_dev``."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            mounted, _dash, backing = line.partition(" - ")
            if mounted.split()[2] == wanted:
                kind, _source, options = backing.split(" ", 2)
                return Storage(kind, "noswap" in options.strip().split(","))
    return Storage(None)


def swap_in_use(swaps: str = SWAPS) -> list[str]:
    """Files and devices to which memory may be written; zram, which is memory itself, is left out."""
    try:
        with open(swaps, encoding="utf-8", errors="replace") as file:
            names = [line.split()[0] for line in file.readlines()[1:] if line.strip()]
    except FileNotFoundError:
        return []
    return [name for name in names if not name.startswith("/dev/zram")]


def check_memory(storage: Storage, where: str) -> Optional[str]:
    """A warning, where what is in memory may be swapped. Raises SecretError for what is not memory."""
    if not storage.memory:
        raise SecretError(
            "not_in_memory",
            f"secrets are kept in memory alone, and this is {storage.kind or 'storage of an unknown kind'}",
            where=where,
            fix="Set mount: true (needs root), or choose a folder below /run, $XDG_RUNTIME_DIR or /dev/shm "
            "where that is a tmpfs",
        )
    swap = swap_in_use() if storage.swappable else []
    if not swap:
        return None
    return (
        f"{where}: this memory may be swapped to {', '.join(swap)}. Set mount: true on a kernel from 6.4 on, "
        "or encrypt the swap"
    )


def mount(path: str, runner: Runner) -> None:
    """Mount a tmpfs on a folder, without swap where the kernel can. Raises SecretError."""
    said = ""
    for options in (f"{_OPTIONS},noswap", _OPTIONS):
        ended = runner.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path])
        if ended.status == 0:
            return
        said = ended.stderr.strip()
    raise SecretError(
        "not_in_memory",
        f"no tmpfs can be mounted here: {said}",
        where=path,
        fix="Run as root with the right to mount, or leave mount out and choose a folder that is in memory",
    )


def unmount(path: str, runner: Runner) -> None:
    """Raises SecretError while somebody uses it."""
    ended = runner.run(["umount", path])
    if ended.status != 0:
        raise SecretError("busy", f"it cannot be unmounted: {ended.stderr.strip()}", where=path)
