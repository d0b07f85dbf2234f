# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The auth method that a user names."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping

from ..faults import SecretError
from .approle import AppRole
from .cert import Certificate
from .jwt import Jwt
from .kubernetes import Kubernetes
from .ldap import Ldap
from .method import AuthMethod
from .token import TokenFile
from .userpass import Userpass

METHODS: Mapping[str, Any] = {
    "token": TokenFile,
    "approle": AppRole,
    "jwt": Jwt,
    "kubernetes": Kubernetes,
    "cert": Certificate,
    "userpass": Userpass,
    "ldap": Ldap,
}


def chosen(options: Mapping[str, Any]) -> AuthMethod:
    """From ``method`` and its own options; those that are None count as not given. Raises SecretError."""
    name = options.get("method")
    kind = METHODS.get(str(name))
    if kind is None:
        raise _refused(f"{name!r} is no auth method", f"One of {', '.join(METHODS)}")
    given = {key: value for key, value in options.items() if key != "method" and value is not None}
    known = {field.name: field for field in dataclasses.fields(kind)}
    foreign = sorted(set(given) - set(known))
    if foreign:
        raise _refused(f"the auth method {name} does not take {', '.join(foreign)}", f"It takes {', '.join(known)}")
    absent = [key for key, field in known.items() if field.default is dataclasses.MISSING and key not in given]
    if absent:
        raise _refused(f"the auth method {name} needs {', '.join(absent)}")
    if given.get("secret_id_file") and given.get("wrapped_secret_id_file"):
        raise _refused("of secret_id_file and wrapped_secret_id_file only one can be meant")
    method: AuthMethod = kind(**given)
    return method


def _refused(what: str, fix: str = "docs/secrets.md has them all") -> SecretError:
    return SecretError("unreadable", what, where="auth", fix=fix)
