# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every exchange of the list has a test that carries its name."""

from __future__ import annotations

import re
from pathlib import Path

COUNTS = {"h": 7, "e": 10, "s": 3, "t": 4, "a": 7, "k": 15, "n": 2, "w": 5, "l": 3, "x": 5, "p": 1, "tls": 1}
"""Health, errors, standby, tokens, auth methods, key values, namespaces, wrapping, leases, transit, PKI, TLS."""


def test_every_exchange_has_a_test() -> None:
    found = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        found |= set(re.findall(r"^def test_([a-z]+\d+)_", file.read_text(), re.MULTILINE))
    wanted = {f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)}
    assert wanted - found == set()
