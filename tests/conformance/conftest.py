# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which servers the suite runs against: both generations of ours, and a real one.

The real one is named by VAULT_ADDR, VAULT_TOKEN (of an administrator) and, for its TLS, VAULT_CACERT. The suite makes
mounts, policies, roles and namespaces with random names there, and removes them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from place import Place
from vault_server.profiles import PROFILES
from vault_server.server import VaultServer

REAL = bool(os.environ.get("VAULT_ADDR") and os.environ.get("VAULT_TOKEN"))


@pytest.fixture(scope="session", params=[*PROFILES, *(["real"] if REAL else [])])
def server(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "real":
        environment = os.environ
        address = environment["VAULT_ADDR"].rstrip("/")
        yield Place(address, environment["VAULT_TOKEN"], None, environment.get("VAULT_CACERT"))
        return
    with VaultServer(PROFILES[request.param]) as ours:
        yield Place(ours.address, ours.root_token, ours)


@pytest.fixture
def vault(server: Place) -> Iterator[Place]:
    """One server; what a test makes there, and how it bends it, is undone."""
    try:
        yield server
    finally:
        if server.ours is not None:
            server.ours.faults.clear()
            assert server.ours.crashes == []
        server.clean()
