# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service account of a pod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .. import credential_files

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


@dataclass(frozen=True)
class Kubernetes:
    role: str
    jwt_file: str = SERVICE_ACCOUNT
    mount: str = "kubernetes"
    owned: ClassVar[bool] = True

    def login(self, client: Any) -> None:
        # The kubelet writes it for every user of the pod.
        jwt = credential_files.text(self.jwt_file, private=False)
        client.auth.kubernetes.login(self.role, jwt.text(), mount_point=self.mount)
