# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a copy in another place says no."""

from __future__ import annotations

import importlib
from types import ModuleType

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


def required(module: str, package: str, purpose: str) -> ModuleType:
    """Import an optional library. Raises OffsiteError that names its package."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OffsiteError(
            f"{purpose} needs the Python library {package}, which is not installed",
            where=module,
            fix=f"Install it for the Python that runs this: python3 -m pip install {package}",
        ) from error
