# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that the steps of a rollout have in common; their types stand in ``module_utils/rollout/options.py``."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  root:
    description:
      - The host root, staged by M(fleetops.continuity.release).
    type: path
    required: true
"""

    LEASE = r"""
options:
  owner:
    description:
      - Who changes the host and holds its lease, in words that another operator understands.
    type: str
    required: true
  run:
    description:
      - The run on whose behalf, as M(fleetops.continuity.rollout_plan) named it.
    type: str
    required: true
  lease_seconds:
    description:
      - How long the lease lasts from now on without being renewed. A gate adds the time of its watch.
    type: float
    default: 900.0
"""

    PLAN = r"""
options:
  plan:
    description:
      - The plan, as M(fleetops.continuity.rollout_plan) returns it.
    type: dict
    required: true
"""

    WAVE = r"""
options:
  wave:
    description:
      - The number of the wave.
    type: int
    required: true
"""

    HEALTHY = r"""
options:
  healthy_seconds:
    description:
      - How long the replaced agents have to answer as they should.
    type: float
    default: 30.0
"""

    RESTORE_POINT = r"""
options:
  restore_point:
    description:
      - The restore point that was taken before, for the ledger.
    type: str
"""
