# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""AppRole: a role_id, and a secret_id in a file or response-wrapped, so that nobody can have used it before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

from .. import credential_files
from ..answers import text
from ..faults import SecretError
from ..model import Hidden


@dataclass(frozen=True)
class AppRole:
    """Of the two files with a secret_id at most one is named; none where the role asks for none. ``role`` is the name
    of the role for which the wrapped one must have been made; None accepts every role of this mount."""

    role_id_file: str
    secret_id_file: Optional[str] = None
    wrapped_secret_id_file: Optional[str] = None
    role: Optional[str] = None
    mount: str = "approle"
    owned: ClassVar[bool] = True

    def login(self, client: Any) -> None:
        role_id = credential_files.text(self.role_id_file, private=False)
        secret_id: Optional[Hidden] = None
        if self.wrapped_secret_id_file:
            secret_id = self._unwrapped(client, credential_files.text(self.wrapped_secret_id_file))
        elif self.secret_id_file:
            secret_id = credential_files.text(self.secret_id_file)
        client.auth.approle.login(role_id.text(), secret_id.text() if secret_id else None, mount_point=self.mount)

    def _unwrapped(self, client: Any, wrapping: Hidden) -> Hidden:
        path = self._creation_path(client, wrapping)
        role = re.escape(self.role) if self.role else "[^/]+"
        # Nothing else may stand before it: whoever writes below some mount can wrap from a path that ends like this.
        namespace = re.escape((client.adapter.namespace or "").strip("/"))
        if not re.fullmatch(rf"({namespace}/)?auth/{re.escape(self.mount)}/role/{role}/secret-id", path):
            raise self._alarm("the wrapping token was not made for this role")
        client.adapter.hidden_token = wrapping
        try:
            body = self._asked(client, "/v1/sys/wrapping/unwrap", {}, "the wrapping token was used by somebody before")
        finally:
            client.adapter.hidden_token = None
        secret_id = text(body, "data", "secret_id")
        if secret_id is None:
            raise self._alarm("what was wrapped is no secret_id")
        return Hidden(secret_id.encode())

    def _creation_path(self, client: Any, wrapping: Hidden) -> str:
        body = {"token": wrapping.text()}
        answer = self._asked(client, "/v1/sys/wrapping/lookup", body, "the wrapping token is used up, or too old")
        return text(answer, "data", "creation_path") or ""

    def _asked(self, client: Any, url: str, body: dict[str, str], refused: str) -> dict[str, Any]:
        outcome: Any = None
        try:
            outcome = client.adapter.post(url, json=body, once=True)
        except SecretError as error:
            if error.code not in ("refused", "denied", "missing"):
                raise
        if not isinstance(outcome, dict):
            raise self._alarm(refused)
        return outcome

    def _alarm(self, what: str) -> SecretError:
        return SecretError(
            "intercepted",
            f"{what}: somebody else may hold the secret_id",
            where=self.wrapped_secret_id_file,
            fix="Revoke the secret_ids of this role, look into the audit log of Vault, and make a new one",
        )
