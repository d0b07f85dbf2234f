# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the repository says no."""

from __future__ import annotations

from ..errors import ContinuityError


class RepositoryError(ContinuityError):
    """The repository cannot be used, or what was asked for is not in it."""


class DamagedError(RepositoryError):
    """Something in the repository is not what it was when it was published."""
