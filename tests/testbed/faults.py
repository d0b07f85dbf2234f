# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with a host of the test bed, done for real."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import contextmanager
from typing import Iterator

from hosts import await_boot, podman, run


@contextmanager
def cable_cut(container: str) -> Iterator[None]:
    """The host reaches nobody and nobody reaches it, while its own address goes on working inside.

    Packets vanish in its network namespace; nothing is refused, as with a pulled cable.
    """
    pid = podman("inspect", "--format", "{{.State.Pid}}", container)
    rules = (("INPUT", "--in-interface"), ("OUTPUT", "--out-interface"))
    namespace = ("nsenter", f"--target={pid}", "--net", "iptables")
    for chain, interface in rules:
        run(*namespace, "--insert", chain, interface, "eth0", "--jump", "DROP")
    try:
        yield
    finally:
        for chain, interface in rules:
            run(*namespace, "--delete", chain, interface, "eth0", "--jump", "DROP")


def inside(container: str, *argv: str) -> str:
    """What a program says inside the host, asked without its network; empty when it fails."""
    ended = subprocess.run(["podman", "exec", container, *argv], capture_output=True, text=True, check=False)
    return ended.stdout


def power_lost(container: str) -> None:
    """Everything in the host ends at once."""
    podman("kill", "--signal", "KILL", container)


def boot(container: str, address: str, seconds: float = 60.0) -> None:
    """Start a host again, and wait until it is up and can be reached (neighbours still know its old
    network card)."""
    podman("start", container)
    await_boot(container)
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((address, 22), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
