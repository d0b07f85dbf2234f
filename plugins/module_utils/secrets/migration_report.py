# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree in, a plan out; and what is told of plans and runs: names and places, never a value."""

from __future__ import annotations

import os
from datetime import date
from functools import partial
from typing import Any, Mapping, Optional, Sequence

from ..errors import ContinuityError
from ..fleet.yaml_document import MAX_BYTES, parse
from .migration import Settings, Undone
from .migration_files import MigrationError, read
from .migration_journal import Run
from .migration_plan import Left, Move, Plan, is_yaml, plan
from .scan_baseline import ScanBaseline
from .scan_findings import Finding
from .scanned_files import Unread, files
from .scanning import scan

OPTIONS = ("source", "writer", "prefix", "backup")


def plan_of(root: str, baseline: ScanBaseline, today: date) -> tuple[Plan, tuple[Unread, ...]]:
    """What can be moved in a tree, and the files that could not be read."""
    root = os.path.realpath(root)
    found = scan(root)
    unread: list[Unread] = list(found.unread)
    contents: dict[str, bytes] = {}
    for path, size in files(root, []):
        if is_yaml(path) and size <= MAX_BYTES:
            try:
                content = read(root, path)
            except MigrationError:
                continue  # The scan has named it as unread.
            if _is_text(content):
                contents[path] = content
    seen = {path.encode("utf-8", "backslashreplace").decode() for path in contents}
    elsewhere = [one for one in found.findings if one.file not in seen]
    return plan(contents, elsewhere, partial(_remaining, baseline, today)), tuple(unread)


def _remaining(baseline: ScanBaseline, today: date, findings: Sequence[Finding]) -> Sequence[Finding]:
    return baseline.apply(findings, today).remaining


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content


def settings_of(options: Mapping[str, Any], identity_files: Sequence[str] = ()) -> Settings:
    """From what a user says (docs/secret-migration.md). Raises ContinuityError for what cannot be meant."""
    foreign = sorted(set(options) - set(OPTIONS))
    absent = [name for name in OPTIONS if not options.get(name)]
    if foreign or absent:
        said = f"does not know {', '.join(foreign)}" if foreign else f"needs {', '.join(absent)}"
        raise MigrationError(f"a migration {said}", where="settings", fix="docs/secret-migration.md has an example")
    backup = options["backup"]
    if not isinstance(backup, Mapping) or not backup.get("folder") or not backup.get("recipients"):
        raise MigrationError("backup needs folder and recipients", where="settings")
    for name in ("source", "writer"):
        if not isinstance(options[name], Mapping):
            raise MigrationError(f"{name} holds several options, below it", where="settings")
    source = {key: value for key, value in options["source"].items() if value is not None}
    return Settings(
        source,
        options["writer"],
        str(options["prefix"]).strip("/"),
        os.path.abspath(str(backup["folder"])),
        [str(key) for key in backup["recipients"]],
        [*(backup.get("identity_files") or []), *identity_files],
    )


def settings_from(path: str, identity_files: Sequence[str] = ()) -> Settings:
    """From a YAML file. Nothing of what stands there is repeated in an error."""
    reason: Optional[str] = None
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        reason = error.strerror
    else:
        read_document = parse(content, path)
        if read_document.root is not None and not read_document.faults and read_document.root.kind == "mapping":
            return settings_of(read_document.root.plain(), identity_files)
        line = f":{read_document.faults[0].line}" if read_document.faults else ""
        raise ContinuityError("The settings are no YAML mapping", where=f"{path}{line}")
    raise ContinuityError(f"The settings cannot be read: {reason}", where=path)


def plan_document(planned: Plan, unread: Sequence[Unread], settings: Settings, run: Optional[Run]) -> dict[str, Any]:
    moves = run.moves if run else planned.moves
    prefix = run.prefix if run else settings.prefix
    return {
        "run": run.id if run else None,
        "state": run.state if run else "planned",
        "moves": [_move(move, prefix) for move in moves],
        "left": [_left(one) for one in planned.left],
        "declarations": declarations(moves, prefix),
        "unread": [one.document() for one in unread],
    }


def declarations(moves: Sequence[Move], prefix: str) -> list[dict[str, str]]:
    """What a host declares to have these secrets as files (docs/secret-files.md)."""
    return [{"name": name, "path": f"{prefix}/{name}"} for name in sorted({move.name for move in moves})]


def plan_text(planned: Plan, unread: Sequence[Unread], settings: Settings, run: Optional[Run]) -> list[str]:
    moves = run.moves if run else planned.moves
    prefix = run.prefix if run else settings.prefix
    lines = [
        f"{_shown(move.file)}:{move.line}: {move.name} <- {move.key} ({move.class_} {move.kind}) in {prefix}/{move.name}"
        for move in moves
    ]
    lines += [
        f"left: {one.finding.file}:{one.finding.line}: {one.finding.class_} {one.finding.kind}: {one.reason}"
        for one in planned.left
    ]
    lines += [f"unread: {one.file}: {one.reason}" for one in unread]
    count = f"{len(moves)} of {len({move.file for move in moves})} files; {len(planned.left)} left"
    if run is None:
        ending = "Nothing was changed: --apply moves them" if moves else "Nothing was changed"
        return [*lines, "", f"to move: {count}. {ending}"]
    if run.state == "done":
        return [*lines, "", f"moved: {count}. Undo with --undo {run.id}"]
    ending = f"--apply goes on with it, --undo {run.id} takes it back"
    return [*lines, "", f"run {run.id} was begun and not finished: {count}. {ending}"]


def plan_diff(moves: Sequence[Move]) -> dict[str, str]:
    """The places as they are and as they will be; what is moved is told by its kind."""
    before = [f"{_shown(move.file)}:{move.line}: {move.key}: ({move.class_} {move.kind})" for move in moves]
    after = [f'{_shown(move.file)}:{move.line}: {move.key}: "{move.replacement}"' for move in moves]
    return {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)}


def undone_text(undone: Undone) -> list[str]:
    lines = [f"restored: {_shown(file)}" for file in undone.restored]
    lines += [f"taken back: {path}" for path in undone.taken_back]
    return [*lines, *(f"kept: {_shown(what)}: {why}" for what, why in sorted(undone.kept.items()))] or [
        "nothing to undo"
    ]


def undone_document(undone: Undone) -> dict[str, Any]:
    return {
        "run": undone.run,
        "restored": list(undone.restored),
        "taken_back": list(undone.taken_back),
        "kept": dict(undone.kept),
    }


def _move(move: Move, prefix: str) -> dict[str, Any]:
    return {
        "file": _shown(move.file),
        "line": move.line,
        "key": move.key,
        "kind": move.kind,
        "class": move.class_,
        "id": move.id,
        "name": move.name,
        "path": f"{prefix}/{move.name}",
    }


def _left(one: Left) -> dict[str, Any]:
    return {**one.finding.document(), "reason": one.reason}


def _shown(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()
