# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a backup: what was asked for, what was copied, what it was compared with (pure)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from .copying import Copy

PROTOCOL = "fleetops.continuity backup 1"
DIFFERS, UNSETTLED = "differs", "unsettled"


@dataclass(frozen=True)
class Findings:
    """Everything that a report tells.

    ``states`` is the copy of the agents' states, ``copies`` are all files of the backup; ``archives`` are
    the compressed logs with their ratios; ``sent`` the files that went off-site; ``problems`` have
    ``path``, ``kind`` and ``message``; ``snapshot`` is the restore point as modules describe it.
    """

    backup_id: str
    timestamp: str
    date: str
    host: str
    backup_type: str
    inputs: Mapping[str, Any]
    set_name: str
    snapshot: Mapping[str, Any]
    states: Copy
    copies: Sequence[Copy]
    archives: Sequence[Mapping[str, Any]]
    sent: Sequence[str]
    offsite: Mapping[str, Any]
    sums: Mapping[str, str]
    problems: Sequence[Mapping[str, str]]
    seconds: float
    extra: Mapping[str, Any] = field(default_factory=dict)


def document(found: Findings) -> dict[str, Any]:
    """The report. The keys up to ``checksums_generated`` are a contract, the others are ours."""
    kinds = {problem["kind"] for problem in found.problems}
    logs = sorted(str(archive["file"]) for archive in found.archives)
    return {
        "backup_id": found.backup_id,
        "timestamp": found.timestamp,
        "session_date": found.date,
        "protocol": PROTOCOL,
        "status": "PARTIAL" if found.problems else "SUCCESS",
        "database_snapshot": {
            "file": found.states.path,
            "checksum": found.states.digests.sha256,
            "size_bytes": found.states.digests.size,
        },
        "compressed_logs": {"count": len(logs), "files": logs},
        "icloudfire_sync": {"count": len(found.sent), "files": sorted(found.sent)},
        "verification_status": "DIFFERS" if DIFFERS in kinds else "UNSETTLED" if UNSETTLED in kinds else "VERIFIED",
        "total_files_backed_up": len(found.copies),
        "checksums_generated": len(found.copies),
        "host": found.host,
        "backup_type": found.backup_type,
        "inputs": dict(found.inputs),
        "set": found.set_name,
        "snapshot": dict(found.snapshot),
        "catalogue": [copy.fields() for copy in sorted(found.copies, key=lambda copy: copy.path)],
        "log_archives": [dict(archive) for archive in found.archives],
        "offsite": dict(found.offsite),
        "sums": dict(found.sums),
        "problems": [dict(problem) for problem in found.problems],
        "seconds": round(found.seconds, 3),
    }


def render(report: Mapping[str, Any]) -> str:
    """The file's text."""
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def summary(report: Mapping[str, Any], folder: str, checksum: str) -> list[str]:
    """The same for people, a line each; ``checksum`` is the SHA-256 of the report's file."""
    states, logs, sent = report["database_snapshot"], report["compressed_logs"], report["icloudfire_sync"]
    compared = [copy["compared_with"] for copy in report["catalogue"]]
    counted = ", ".join(f"{compared.count(what)} with {name}" for what, name in _COMPARED if what in compared)
    size = sum(copy["size_bytes"] for copy in report["catalogue"])
    plain, packed = (
        sum(archive[key] for archive in report["log_archives"]) for key in ("size_bytes", "compressed_bytes")
    )
    ratio = f", {plain / 1e6:.1f} MB to {packed / plain:.0%} of that" if plain else ""
    snapshot = report["snapshot"]
    lines = [
        f"{report['backup_id']} of {report['host']}: {report['status']}, {report['verification_status']}",
        f"  folder          {folder}",
        f"  restore point   {snapshot['restore_point']}, snapshot {snapshot['id']},"
        f" {snapshot['totals']['files']} files",
        f"  agents' states  {states['file']}, {states['size_bytes']} bytes",
        f"  files           {report['total_files_backed_up']}, {size / 1e6:.1f} MB, {report['backup_type']}",
        f"  logs            {logs['count']} compressed{ratio}",
        f"  off-site        {sent['count']} files sent",
        f"  checksums       {report['checksums_generated']} files, SHA-256 and MD5",
        f"  compared        {counted}",
        f"  took            {report['seconds']} s",
        f"  report          SHA-256 {checksum}",
    ]
    return lines + [f"  PROBLEM         {one['path']}: {one['message']} ({one['kind']})" for one in report["problems"]]


_COMPARED = (
    ("source", "the source as it stands"),
    ("snapshot", "what was read of a database, or of a source that goes on changing"),
    ("itself", "what was generated"),
)
