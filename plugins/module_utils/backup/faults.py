# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a backup says no."""

from __future__ import annotations

from ..errors import ContinuityError


class BackupError(ContinuityError):
    """A backup that cannot be made, found or read."""
