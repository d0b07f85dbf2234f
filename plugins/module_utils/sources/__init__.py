# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a thing is read consistently: trees of files, SQLite databases, JSON documents."""
