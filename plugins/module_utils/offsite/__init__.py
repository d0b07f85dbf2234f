# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies in another place: object stores, encryption before it leaves the host (docs/off-site.md)."""
