# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every module says of itself; a module restates ``support`` for the first three."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the changed status of a real run without changing the target.
  diff_mode:
    description: Returns what has changed, or in C(check_mode) what would change, when run in diff mode.
  idempotent:
    description:
      - When run twice in a row outside of check mode, with the same arguments, the second run reports no change.
      - This assumes that the system that the module works on has not changed in between.
  platform:
    description: Target systems that the module works on.
    support: full
    platforms: posix
  action_group:
    description: Use C(group/fleetops.continuity.continuity) in C(module_defaults) to set defaults for all modules.
    support: full
    membership:
      - fleetops.continuity.continuity
"""
