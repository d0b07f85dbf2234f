# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where snapshots live: blocks, packs, index, manifests, locks, verify, restore (docs/snapshot-format.md)."""
