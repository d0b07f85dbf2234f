# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access rules: the small part of HCL (or JSON) in which policies are written, and what they allow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from .messages import Refusal

DEFAULT = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/internal/ui/mounts" { capabilities = ["read"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }
"""
_RULE = re.compile(r'path\s+"([^"]*)"\s*\{([^}]*)\}')
_CAPABILITIES = re.compile(r"capabilities\s*=\s*\[([^\]]*)\]")
_NEEDED = {
    "read": {"read"},
    "list": {"list"},
    "update": {"update", "create"},
    "delete": {"delete"},
    "patch": {"patch"},
}

Rules = dict[str, frozenset[str]]


def parse(text: str) -> Rules:
    """Path patterns with their capabilities. Raises Refusal for what is no policy."""
    if text.lstrip().startswith("{"):
        try:
            paths = json.loads(text).get("path", {})
            return {path: frozenset(rule["capabilities"]) for path, rule in paths.items()}
        except (ValueError, KeyError, AttributeError):
            raise Refusal(400, "failed to parse policy") from None
    if text.strip() and not _RULE.search(text):
        raise Refusal(400, "failed to parse policy: path must be a block")
    rules: Rules = {}
    for path, block in _RULE.findall(text):
        found = _CAPABILITIES.search(block)
        rules[path] = frozenset(re.findall(r'"(\w+)"', found.group(1))) if found else frozenset()
    return rules


def _pattern(path: str) -> re.Pattern[str]:
    body, glob = (path[:-1], ".*") if path.endswith("*") else (path, "")
    return re.compile("[^/]+".join(re.escape(part) for part in body.split("+")) + glob + r"\Z")


def capabilities(policies: Iterable[Rules], path: str) -> frozenset[str]:
    """What all policies together allow for a path: of each, the most exact pattern counts."""
    best: tuple[tuple[bool, int], set[str]] = ((False, -1), set())
    for rules in policies:
        for pattern, allowed in rules.items():
            if not _pattern(pattern).match(path):
                continue
            exactness = (not re.search(r"[*+]", pattern), len(pattern))
            if exactness > best[0]:
                best = (exactness, set(allowed))
            elif exactness == best[0]:
                best[1].update(allowed)
    return frozenset({"deny"}) if "deny" in best[1] else frozenset(best[1])


def allows(policies: Iterable[Rules], path: str, operation: str) -> bool:
    found = capabilities(policies, path)
    if operation == "list":
        found |= capabilities(policies, path.rstrip("/") + "/")
    return "deny" not in found and bool(found & _NEEDED[operation])


def reaches(policies: Iterable[Rules], mount: str) -> bool:
    """Whether any rule gives any right below a mount."""
    for rules in policies:
        for pattern, allowed in rules.items():
            start = re.split(r"[*+]", pattern)[0]
            if "deny" not in allowed and (start.startswith(mount) or (mount.startswith(start) and start != pattern)):
                return True
    return False
