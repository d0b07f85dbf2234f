# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports that are implied rather than declared."""

from __future__ import annotations

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.health.rules import (
    Ports,
    base_class_ports,
    resolve_port,
)


def test_base_class_ports():
    assert base_class_ports(7100, 8100) == Ports(7100, 8100, 8101)
    assert base_class_ports(7100, 8100, honoured=False) == Ports(7100, 7101, 7102)
    assert base_class_ports(7100, None) == Ports(7100, 7101, 7102)


@pytest.mark.parametrize(
    ("expression", "port", "health", "number"),
    [
        ("port", 7100, 8100, 7100),
        ("health_check_port", 7100, 8100, 8100),
        ("health_check_port", 7100, None, 7101),
        ("port+1", 7100, 8100, 7101),
        ("port + 2", 7100, 8100, 7102),
        ("health_check_port+1", 7100, 8100, 8101),
        (9000, 7100, None, 9000),
        ("9000", None, None, 9000),
        ("port", None, 8100, None),
        ("health_check_port", None, None, None),
        ("port-1", 7100, None, None),
        ("port+1", 65535, None, None),
        ("prometheus_port", 7100, 8100, None),
        (0, 7100, None, None),
    ],
)
def test_resolve_port(expression, port, health, number):
    assert resolve_port(expression, port=port, health_check_port=health) == number
