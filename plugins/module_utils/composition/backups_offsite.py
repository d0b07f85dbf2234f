# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The off-site part of a backup: the restore point and the documents go where a fire does not reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ..backup.copying import Copy
from ..backup.faults import BackupError
from ..backup.sorting import LEGAL, TECHNICAL
from ..effects import Clock
from ..errors import ContinuityError
from ..offsite.destination import Destination
from ..repository import paths
from . import offsite_copies, offsite_documents

DESTINATION = ("endpoint", "region", "profile", "credentials_file", "ca_file")
SETTINGS = ("destination", *DESTINATION, "recipients", "recipients_file", "parallel", "append_only")
"""As the module ``offsite`` names them."""


@dataclass
class Sent:
    """``files`` are the documents of the backup that are off-site now, as paths inside the backup; ``described``
    is for the report; ``problems`` name what is not there as it stands."""

    files: list[str] = field(default_factory=list)
    described: dict[str, Any] = field(default_factory=dict)
    problems: list[dict[str, str]] = field(default_factory=list)


def send(
    settings: Mapping[str, Any], repository: str, host: str, copied: Sequence[Copy], clock: Clock, wait: float
) -> Sent:
    """Send what is not there yet. An endpoint that fails costs nothing but a problem: the backup itself stands,
    and the next one sends what is missing."""
    result = Sent()
    if not settings:
        return result
    copy, keys = _copy(settings), (settings.get("recipients") or (), settings.get("recipients_file"))
    found = {one.source: one for one in copied if one.path.partition("/")[0] in (LEGAL, TECHNICAL)}
    documents = [(paths.decode(source), one.path.partition("/")[0]) for source, one in sorted(found.items())]
    result.described = {"destination": copy.destination.url, "restore_points": 0, "documents": 0}
    try:
        append_only = bool(settings.get("append_only"))
        _plan, sent = offsite_copies.send(repository, copy, *keys, clock, append_only=append_only, wait=wait)
        result.described["restore_points"] = len(sent.sent)
        if documents:
            done = offsite_documents.send_sorted(copy, host, documents, *keys)
            result.described["documents"] = len(done.sent)
            there = {(one.path, one.sha256) for one in done.documents}
            result.files = [one.path for source, one in found.items() if (source, one.digests.sha256) in there]
            changed = {one.path for one in done.documents} - {
                one.source for one in found.values() if one.path in result.files
            }
            reasons = {**dict.fromkeys(changed, "it was changed while the backup was made"), **done.problems}
            result.problems += [_problem(path, reasons[path]) for path in sorted(reasons)]
    except ContinuityError as error:
        result.problems.append(_problem(copy.destination.url, str(error)))
    return result


def _copy(settings: Mapping[str, Any]) -> offsite_copies.Copy:
    unknown = set(settings) - set(SETTINGS)
    if unknown or not settings.get("destination"):
        raise BackupError(
            f"{', '.join(sorted(unknown))}: off-site copies have no such setting"
            if unknown
            else "No destination is named",
            where="offsite",
            fix=f"Settings are {', '.join(SETTINGS)}",
        )
    chosen = {key: settings[key] for key in DESTINATION if settings.get(key)}
    return offsite_copies.Copy(Destination(str(settings["destination"]), **chosen), int(settings.get("parallel") or 4))


def _problem(path: str, message: str) -> dict[str, str]:
    return {"path": path, "kind": "offsite", "message": message}
