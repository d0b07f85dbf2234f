# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts packages of the engine together: what the modules and the command line have in common."""
