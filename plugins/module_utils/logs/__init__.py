# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive of logs: compressed, every line once, whatever rotates them."""
