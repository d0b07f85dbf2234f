# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an agent gets a secret by its name: from the file that a variable names, from its supervisor, from
``/run/secrets``, or from Vault.

One file without dependencies, to be copied into any project (Python 3.9 and later). Nothing is cached: each call reads
what stands there now, so a rotated secret is seen at the next call.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
import warnings
from typing import Any, Callable, Optional, Union

DIRECTORY = "/run/secrets"
VaultReader = Callable[[str], Union[str, bytes]]
"""Gets the name of a secret, returns its value, or raises SecretNotFoundError."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class SecretNotFoundError(LookupError):
    """Nobody has it. The text names every place where it was looked for, and no value."""


def get_secret(
    name: str,
    *,
    directory: str = DIRECTORY,
    vault: Optional[VaultReader] = None,
    from_environment: bool = False,
) -> str:
    """The secret as text, without one newline at its end.

    The first place that has it counts: the file that ``NAME_FILE`` names (given, it is the only place),
    ``$CREDENTIALS_DIRECTORY/name``, ``directory/name``, ``vault(name)``; at last, and only when asked for,
    the variable ``NAME``. Raises SecretNotFoundError, ValueError for what is no name or no text, and OSError for a file
    that is there and cannot be read.
    """
    content = get_secret_bytes(name, directory=directory, vault=vault, from_environment=from_environment)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise ValueError(f"the secret {name} is no text; get_secret_bytes reads it")
    return text[:-1] if text.endswith("\n") else text


def get_secret_bytes(
    name: str,
    *,
    directory: str = DIRECTORY,
    vault: Optional[VaultReader] = None,
    from_environment: bool = False,
) -> bytes:
    """As ``get_secret``, byte for byte."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a secret: letters, digits, dot, dash and underscore")
    variable = re.sub(r"[.-]", "_", name).upper()
    pointed = os.environ.get(f"{variable}_FILE")
    if pointed:
        return _required(pointed, f"the secret {name} is not where {variable}_FILE says", name)
    looked = [f"the variable {variable}_FILE (not set)"]
    for place, folder in (("$CREDENTIALS_DIRECTORY", os.environ.get("CREDENTIALS_DIRECTORY")), (None, directory)):
        if not folder:
            looked.append(f"{place} (not set)")
            continue
        path = os.path.join(folder, name)
        content = _content(path, name)
        if content is not None:
            return content
        looked.append(path)
    if vault is not None:
        try:
            return _filled(_bytes(vault(name)), name, "Vault")
        except SecretNotFoundError as error:
            looked.append(f"Vault ({error})")
    else:
        looked.append("Vault (not asked)")
    value = os.environ.get(variable)
    if value and from_environment:
        warnings.warn(f"the secret {name} comes from the environment, where others can read it", stacklevel=2)
        return value.encode()
    if value:
        looked.append(f"the variable {variable} (set, but values are not taken from the environment)")
    raise SecretNotFoundError(f"there is no secret {name}. Looked at: {'; '.join(looked)}")


def vault_field(
    address: str,
    path: str,
    field: str = "value",
    *,
    token_file: str,
    ca_file: Optional[str] = None,
    namespace: Optional[str] = None,
    timeout: float = 5.0,
) -> VaultReader:
    """A reader for ``get_secret(vault=…)``: one field of KV (version 1 or 2; ``path`` as the API has it, for version 2
    with ``data``: ``kv/data/fleet/database``). ``{name}`` in path and field stands for the secret's name.

    The token stands in a file. Certificates are checked; proxies and redirects are not followed.
    """
    if not address.startswith("https://") and not re.match(
        r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]", f"{address}/"
    ):
        raise ValueError("Vault is asked over https only")
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirect()]
    handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)))
    opener = urllib.request.build_opener(*handlers)

    def read(name: str) -> str:
        token = _required(token_file, "there is no token for Vault", name).decode().strip()
        headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        where = urllib.parse.quote(path.replace("{name}", name).strip("/"))
        request = urllib.request.Request(f"{address.rstrip('/')}/v1/{where}", headers=headers)
        data = _answer(opener, request, timeout, where)
        wanted = field.replace("{name}", name)
        if isinstance(data.get("data"), dict) and isinstance(data.get("metadata"), dict):
            data = data["data"]
        value = data.get(wanted)
        if not isinstance(value, str):
            raise SecretNotFoundError(f"{where} has no text in the field {wanted}")
        return value

    return read


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        """A token goes nowhere but to the address that was given."""


def _answer(
    opener: urllib.request.OpenerDirector, request: urllib.request.Request, timeout: float, where: str
) -> dict[str, Any]:
    """What stands in ``data``. Nothing that the server wrote is part of an error."""
    problem = ""
    try:
        with opener.open(request, timeout=timeout) as answer:
            data = json.loads(answer.read()).get("data")
            if isinstance(data, dict):
                return data
            problem = "the answer is none of Vault's"
    except urllib.error.HTTPError as error:
        problem = f"HTTP {error.code}"
        error.close()
    except urllib.error.URLError as error:
        problem = type(error.reason).__name__
    except (OSError, ValueError, AttributeError) as error:
        problem = type(error).__name__
    raise SecretNotFoundError(f"{where}: {problem}")


def _content(path: str, name: str) -> Optional[bytes]:
    """None when there is no such file."""
    try:
        with open(path, "rb") as file:
            return _filled(file.read(), name, path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _required(path: str, otherwise: str, name: str) -> bytes:
    content = _content(path, name)
    if content is None:
        raise SecretNotFoundError(f"{otherwise}: {path}")
    return content


def _filled(content: bytes, name: str, where: str) -> bytes:
    if not content.strip():
        raise SecretNotFoundError(f"the secret {name} is empty at {where}")
    return content


def _bytes(value: Union[str, bytes]) -> bytes:
    return value.encode() if isinstance(value, str) else value
