# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that name a source of secrets: paths of files and names, never a value."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Mapping

from .auth.methods import METHODS

_FILE: Mapping[str, Any] = MappingProxyType({"type": "path", "no_log": False})
_NAME: Mapping[str, Any] = MappingProxyType({"type": "str", "no_log": False})

AUTH: Mapping[str, Any] = MappingProxyType(
    {
        "method": {"type": "str", "required": True, "choices": list(METHODS)},
        "mount": dict(_NAME),
        "token_file": dict(_FILE),
        "role_id_file": dict(_FILE),
        "secret_id_file": dict(_FILE),
        "wrapped_secret_id_file": dict(_FILE),
        "role": dict(_NAME),
        "jwt_file": dict(_FILE),
        "name": dict(_NAME),
        "username": dict(_NAME),
        "password_file": dict(_FILE),
    }
)

SOURCE: Mapping[str, Any] = MappingProxyType(
    {
        "kind": {"type": "str", "required": True, "choices": ["age", "sops", "vault"]},
        "file": dict(_FILE),
        "identity_files": {"type": "list", "elements": "path", "no_log": False},
        "address": dict(_NAME),
        "namespace": dict(_NAME),
        "ca_file": dict(_FILE),
        "client_certificate_file": dict(_FILE),
        "client_key_file": dict(_FILE),
        "insecure": dict(_NAME),
        "redirects_to": {"type": "list", "elements": "str", "no_log": False},
        "connect": {"type": "float"},
        "answer": {"type": "float"},
        "patience": {"type": "float"},
        "parallel": {"type": "int"},
        "mounts": {"type": "dict", "no_log": False},
        "auth": {"type": "dict", "options": dict(AUTH), "no_log": False},
    }
)

SECRET: Mapping[str, Any] = MappingProxyType(
    {
        "name": {"type": "str", "required": True, "no_log": False},
        "path": {"type": "str", "required": True, "no_log": False},
        "field": {"type": "str", "default": "value", "no_log": False},
        "version": {"type": "int"},
        "dynamic": {"type": "bool", "default": False},
        "parameters": {"type": "dict", "no_log": False},
        "owner": {"type": "str"},
        "group": {"type": "str"},
    }
)

FILES: Mapping[str, Any] = MappingProxyType(
    {
        "directory": {"type": "path", "default": "/run/secrets"},
        "source": {"type": "dict", "options": dict(SOURCE), "no_log": False},
        "secrets": {"type": "list", "elements": "dict", "options": dict(SECRET), "no_log": False},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mount": {"type": "bool", "default": False},
    }
)
"""Of modules that keep secrets as files; which of these are required is said by each."""
