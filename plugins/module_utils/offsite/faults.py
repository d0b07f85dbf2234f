# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a copy in another place says no."""

from __future__ import annotations

from ..errors import ContinuityError


class OffsiteError(ContinuityError):
    """The copy cannot be made, read or proven."""


class PermissionRefusedError(OffsiteError):
    """The endpoint does not let us."""


class MissingObjectError(OffsiteError):
    """There is no object of this name."""


class DamagedObjectError(OffsiteError):
    """An object is not what its name says."""


class WrongIdentityError(OffsiteError):
    """None of the identities opens an object."""


class NoRoomError(OffsiteError):
    """The far side is full."""
