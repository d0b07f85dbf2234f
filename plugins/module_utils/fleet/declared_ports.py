# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keys of a config are ports, and whose ports they are."""

from __future__ import annotations

import re
from typing import Iterator, Mapping, Optional

from . import expressions
from .model import PortClaim
from .yaml_document import Node

SERVING = frozenset(
    (
        *("admin", "api", "control", "error_bus", "event", "grpc", "gui", "health", "http", "https", "metrics"),
        *("monitoring", "prometheus", "pub", "publish", "pull", "push", "rep", "rest", "router", "stats", "status"),
        *("stream", "streaming", "ui", "web", "websocket", "ws", "zmq", "zmq_pub", "zmq_rep"),
    )
)
"""``<word>_port`` with one of these words is a port that the agent itself opens; ``redis_port``,
``nats_port``, ``tts_port`` … name somebody else's."""

SERVING_SECTIONS = frozenset(
    ("server", "listen", "bind", "api", "http", "grpc", "zmq", "rest", "metrics", "prometheus")
)
"""``<section>.port`` in one of these mappings is the agent's own port; in any other (``redis``,
``database``) it belongs to what the section describes."""

_BOUND_ADDRESS = re.compile(r"[a-z]+://(?:\*|0\.0\.0\.0|\[::\]):([0-9]{1,5})(?:/.*)?\Z")
_ADDRESS_KEY = re.compile(r"(?:^|_)(?:address|addr|endpoint|bind|url)\Z")


def claim(key: str, node: Node, values: Mapping[str, str], *, listens: bool = True) -> Optional[PortClaim]:
    """The port that a node declares; None when it is neither an integer nor a string."""
    raw = node.value
    if isinstance(raw, bool) or not isinstance(raw, (int, str)) or node.kind != "scalar":
        return None
    if isinstance(raw, int):
        return PortClaim(key, raw, raw, node.location, listens)
    resolved = expressions.number(raw, values)
    return PortClaim(key, resolved.value, raw, node.location, listens, resolved.base)


def second_level(config: Node, values: Mapping[str, str], path: str = "config") -> Iterator[PortClaim]:
    """Every port inside an agent's ``config``, and sockets bound to all addresses (``tcp://*:5560``)."""
    section = path.rpartition(".")[2]
    for key, entry in config.entries.items():
        node, inner = entry.node, f"{path}.{key}"
        if node.kind == "mapping":
            yield from second_level(node, values, inner)
        elif key == "port" or key.endswith("_port"):
            found = claim(inner, node, values, listens=_own(key, section))
            if found and (found.number is not None or found.base or expressions.is_expression(str(found.raw))):
                yield found
        elif isinstance(node.value, str) and _ADDRESS_KEY.search(key):
            match = _BOUND_ADDRESS.match(expressions.expand(node.value, values).text)
            if match:
                yield PortClaim(inner, int(match.group(1)), node.value, node.location)


def host_level(root: Node, values: Mapping[str, str]) -> Iterator[PortClaim]:
    """Ports that the host's config declares beside its agents (``error_bus_port``)."""
    for key, entry in root.entries.items():
        if key.endswith("_port"):
            found = claim(key, entry.node, values, listens=_own(key, ""))
            if found:
                yield found


def _own(key: str, section: str) -> bool:
    if key == "port":
        return section in SERVING_SECTIONS or section == "config"
    return key[: -len("_port")] in SERVING and section in SERVING_SECTIONS | {"config", ""}
