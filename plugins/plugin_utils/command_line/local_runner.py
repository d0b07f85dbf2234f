# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs started without Ansible."""

from __future__ import annotations

import os
import subprocess
from typing import Optional, Sequence

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import CompletedRun
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError


class LocalRunner:
    """The Runner protocol over ``subprocess``."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Optional[str] = None,
        timeout: float = 60.0,
    ) -> CompletedRun:
        try:
            ended = subprocess.run(
                list(argv),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ContinuityError(f"{argv[0]} did not end within {timeout:g} s", where=" ".join(argv)) from error
        except OSError as error:
            raise ContinuityError(f"{argv[0]} cannot be run: {error}", fix=f"Install {argv[0]} on this host") from error
        return CompletedRun(ended.returncode, ended.stdout, ended.stderr)
