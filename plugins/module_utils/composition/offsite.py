# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of the module or the command ``offsite``: options in, what came of it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional

from ..effects import Clock
from ..offsite.destination import Destination
from ..offsite.faults import OffsiteError
from ..offsite.sending import Progress
from . import offsite_copies, offsite_documents, snapshots


@dataclass
class Outcome:
    """``fields`` are returned, ``rendered`` is the diff, ``faults`` are why it counts as failed; ``warnings``
    are for people."""

    changed: bool
    fields: dict[str, Any]
    rendered: str = ""
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def carry_out(
    options: Mapping[str, Any], clock: Clock, *, check: bool = False, progress: Optional[Progress] = None
) -> Outcome:
    """Do what the options of the module say (docs/off-site.md)."""
    if options["parallel"] < 1:
        raise OffsiteError("At least one object has to travel at a time", where="parallel", fix="Name 1 or more")
    destination = Destination(
        url=options["destination"],
        endpoint=options["endpoint"],
        region=options["region"],
        profile=options["profile"],
        credentials_file=options["credentials_file"],
        ca_file=options["ca_file"],
    )
    copy = offsite_copies.Copy(destination, options["parallel"])
    return _CALLS[options["content"], options["state"]](options, copy, clock, check, progress)


def _send(
    options: Mapping[str, Any], copy: offsite_copies.Copy, clock: Clock, check: bool, progress: Optional[Progress]
) -> Outcome:
    if not options["repository"]:
        raise OffsiteError("There is nothing to send", where="repository", fix="Name the repository")
    plan, sent = offsite_copies.send(
        options["repository"],
        copy,
        options["recipients"],
        options["recipients_file"],
        clock,
        follow_forget=options["follow_forget"],
        append_only=options["append_only"],
        check=check,
        progress=progress,
    )
    if check:
        names = [file.object for file in plan.send] + ([plan.publish.name] if plan.publish else [])
        fields = {"sent": names, "withdrawn": list(plan.withdraw), "bytes": sum(file.size for file in plan.send)}
    else:
        fields = {"sent": sent.sent, "withdrawn": sent.withdrawn, "bytes": sent.bytes}
    return Outcome(plan.changed, fields, plan.render())


def _send_documents(
    options: Mapping[str, Any], copy: offsite_copies.Copy, clock: Clock, check: bool, progress: Optional[Progress]
) -> Outcome:
    done = offsite_documents.send(
        copy,
        _host(options),
        options["sources"],
        options["recipients"],
        options["recipients_file"],
        patterns=_patterns(options),
        follow_forget=options["follow_forget"] and not options["append_only"],
        check=check,
        progress=progress,
    )
    wanted = {file.object for file in done.plan.send}
    fields = {
        "sent": [one["path"] for one in done.files() if one["object"] in wanted] if check else done.sent,
        "withdrawn": list(done.plan.withdraw),
        "count": len(done.documents),
        "files": done.files(),
        "problems": done.problems,
    }
    faults = [f"{path} {problem}" for path, problem in done.problems.items()]
    return Outcome(done.plan.changed, fields, done.plan.render(), faults)


def _verify(
    options: Mapping[str, Any], copy: offsite_copies.Copy, clock: Clock, check: bool, progress: Optional[Progress]
) -> Outcome:
    alone = bool(options["identity_files"]) and bool(options["expected"] or options["level"] == "data")
    checked = offsite_copies.verify(
        copy,
        options["identity_files"],
        repository_path=None if alone else options["repository"],
        level=options["level"],
        expected=options["expected"],
        progress=progress,
    )
    return Outcome(False, checked.fields(), faults=checked.faults())


def _verify_documents(
    options: Mapping[str, Any], copy: offsite_copies.Copy, clock: Clock, check: bool, progress: Optional[Progress]
) -> Outcome:
    checked = offsite_documents.verify(
        copy,
        _host(options),
        options["identity_files"],
        sources=options["sources"],
        patterns=_patterns(options),
        level=options["level"],
        progress=progress,
    )
    return Outcome(False, checked.fields(), faults=checked.faults())


def _restore(
    options: Mapping[str, Any], copy: offsite_copies.Copy, clock: Clock, check: bool, progress: Optional[Progress]
) -> Outcome:
    manifest, restored = offsite_copies.restore(
        copy,
        options["snapshot"],
        options["identity_files"],
        host=options["host"],
        target=options["target"],
        include=options["include"],
        scratch=options["scratch"],
        check=check,
        progress=progress,
    )
    paths = sorted([*restored.created, *restored.changed])
    fields = {"snapshot": manifest.id, "restored": paths, "failures": restored.failed}
    faults = [f"{path}: {why}" for path, why in restored.failed.items()]
    return Outcome(bool(paths), fields, restored.render(), faults, restored.warnings)


def _restore_documents(
    options: Mapping[str, Any], copy: offsite_copies.Copy, clock: Clock, check: bool, progress: Optional[Progress]
) -> Outcome:
    if not options["target"]:
        raise OffsiteError("Documents are restored to a folder", where="target", fix="Name one")
    paths, failed = offsite_documents.restore(
        copy,
        _host(options),
        options["identity_files"],
        options["target"],
        include=options["include"],
        check=check,
        progress=progress,
    )
    faults = [f"{path}: {why}" for path, why in failed.items()]
    return Outcome(
        bool(paths), {"restored": paths, "failures": failed}, "".join(f"+ {path}\n" for path in paths), faults
    )


def _host(options: Mapping[str, Any]) -> str:
    return snapshots.host_name(options["root"], options["host"])


def _patterns(options: Mapping[str, Any]) -> dict[str, list[str]]:
    given = {kind: options[f"{kind}_patterns"] for kind in offsite_documents.KINDS}
    return {
        kind: list(offsite_documents.PATTERNS[kind] if patterns is None else patterns)
        for kind, patterns in given.items()
    }


_CALLS: Mapping[
    tuple[str, str], Callable[[Mapping[str, Any], offsite_copies.Copy, Clock, bool, Optional[Progress]], Outcome]
] = {
    ("restore_points", "sent"): _send,
    ("restore_points", "verified"): _verify,
    ("restore_points", "restored"): _restore,
    ("documents", "sent"): _send_documents,
    ("documents", "verified"): _verify_documents,
    ("documents", "restored"): _restore_documents,
}
