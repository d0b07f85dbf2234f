# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""When backups are made without anybody asking: sets, their times, systemd timers and cron (docs/backup.md)."""
