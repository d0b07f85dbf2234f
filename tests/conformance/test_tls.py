# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that must not come about: no request arrives, so no token is sent."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from place import Place
from vault_server.certificates import Authority
from vault_server.server import Tls, VaultServer


@pytest.mark.parametrize("fault", ["wrong_authority", "wrong_host", "expired", "no_client_certificate", "tls_1_1"])
def test_tls1_connections_that_fail(vault: Place, tmp_path: Path, fault: str) -> None:
    vault.own("certificates and listeners that are wrong on purpose")
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    hosts = ["elsewhere.example"] if fault == "wrong_host" else ["127.0.0.1"]
    tls = Tls(*authority.issue("server", hosts, expired=fault == "expired"), authorities=(other.file,))
    tls = replace(tls, client_required=fault == "no_client_certificate", old=fault == "tls_1_1")
    trusted = other if fault == "wrong_authority" else authority
    with VaultServer(tls=tls) as ours:
        place = Place(ours.address, ours.root_token, ours, str(trusted.file))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            place.ask("GET", "sys/health")
        assert ours.requests == []


def test_tls1_a_connection_that_works(vault: Place, tmp_path: Path) -> None:
    vault.own("certificates that the test knows")
    authority = Authority(tmp_path)
    with VaultServer(tls=Tls(*authority.issue("server"), authorities=(authority.file,))) as ours:
        place = Place(ours.address, ours.root_token, ours, str(authority.file))
        assert place.ask("GET", "auth/token/lookup-self").status == 200
