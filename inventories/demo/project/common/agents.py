# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short way to the base class."""

from common.core.base_agent import BaseAgent

__all__ = ["BaseAgent"]
