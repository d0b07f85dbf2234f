# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings as they may be shown: without what is named like a credential, or looks like one.

Better a harmless value too few than a secret too many. What is no secret although its name says so
(``max_tokens: 4096``, ``password_file: /etc/x``) is told by its value.
"""

from __future__ import annotations

import re
from typing import Any, Mapping

REDACTED = "(not shown)"
ENVIRONMENT = frozenset({"env", "env_vars", "environment"})
"""Settings of which no value is shown: environments are where secrets are handed over."""

_NAME = (
    r"passw|passphrase|pwd|secret|token|credential|cookie|authorization|bearer|webhook|"
    r"(?:api|access|private|signing|encryption|auth|account|shared|ssh|master)[_-]?key"
)
_NAMED = re.compile(_NAME, re.IGNORECASE)
_A_FILE = re.compile(r"(?:[_-]?(?:file|path|dir|folder))$", re.IGNORECASE)
_A_MEASURE = re.compile(
    r"tokens$|(?:ttl|timeout|seconds|minutes|hours|days|length|limit|count|budget|interval|enabled|required)$",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    rf"((?:{_NAME})[\w-]*[\"']?\s*[=:]\s*|\B--?[\w-]*(?:{_NAME})[\w-]*\s+)([\"']?)[^\s,;&\"']+\2", re.IGNORECASE
)
_ADDRESS = re.compile(r"://[^\s\"']*@")
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|AGE-SECRET-KEY-1[0-9A-Z]+"
    r"|\beyJ[\w-]{6,}\.[\w-]{6,}\.[\w-]*"
    r"|\b(?:[Bb]earer|[Bb]asic)\s+[\w+/=.~-]{8,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bAIza[\w-]{30,}"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|npm_|pypi-|hv[sb]\.|xox[abeoprs]-|sk-|SG\.)[\w.-]{16,}"
    r"|https://hooks\.slack\.com/\S+"
    r"|\$(?:2[aby]|5|6|y|argon2\w*)\$\S+"
)
"""Keys, JSON web tokens, tokens of well-known services, hashes of passwords."""


def shown(value: Any, name: str = "") -> Any:
    """A setting without the values that nobody may see; ``name`` is its key."""
    if value is None or isinstance(value, bool):
        return value
    if name in ENVIRONMENT:
        if isinstance(value, Mapping):
            return dict.fromkeys(map(shown_text, map(str, value)), REDACTED)
        return [REDACTED] * len(value) if isinstance(value, (list, tuple)) else REDACTED
    if _NAMED.search(name) and not _harmless(value, name):
        return REDACTED
    if isinstance(value, Mapping):
        return {shown_text(str(key)): shown(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return _list(list(value), name)
    return shown_text(value) if isinstance(value, str) else value


def shown_text(text: str) -> str:
    """Text without credentials: in addresses, behind names like ``password=``, and by their shape."""
    text = _SHAPES.sub(REDACTED, text)
    text = _ADDRESS.sub(f"://{REDACTED}@", text)
    return _ASSIGNED.sub(lambda found: found[1] + REDACTED, text)


def _list(values: list[Any], name: str) -> list[Any]:
    """A list may be a command line, in which ``--password`` and its value are two words."""
    result, before = [], ""
    for value in values:
        named = isinstance(value, str) and before.startswith("-") and "=" not in before and _NAMED.search(before)
        result.append(REDACTED if named else shown(value, name))
        before = value if isinstance(value, str) else ""
    return result


def _harmless(value: Any, name: str) -> bool:
    if isinstance(value, (int, float)):
        return bool(_A_MEASURE.search(name))
    return isinstance(value, str) and bool(_A_FILE.search(name)) and value.startswith(("/", "./", "~"))
