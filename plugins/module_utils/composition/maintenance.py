# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upkeep of a repository: what the modules and the command line have in common."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from ..effects import Clock
from ..errors import ContinuityError
from ..journal.chain import Chain
from ..journal.durable import write_file
from ..offsite.faults import DamagedObjectError, MissingObjectError
from ..repository import forgetting, pruning, scrubbing
from ..repository.checkpoints import Checkpoint
from ..repository.faults import DamagedError, RepositoryError
from ..repository.forgetting import Forgetting
from ..repository.good_copies import GoodCopy, RepositoryCopy
from ..repository.healing import OWNER as HEALING
from ..repository.healing import Healed, Healing
from ..repository.index import Index
from ..repository.layout import LARGEST_CONFIG, Repository, canonical, is_repository, read_published, refusals
from ..repository.locks import maintaining
from ..repository.pruning import Progress, Pruned
from ..repository.retention import ALLOWED, PERIODS, Policy, Retention
from ..repository.scrubbing import Head, Scrubbed
from .offsite_copies import Copy, Fetched, fetched

KEEP = ("last", *PERIODS)
UNCERTAIN = {"manifest", "forgotten", "chain", "head"}
"""Kinds of damage after which the newest snapshots are not noted anew."""
RULES = frozenset(f"keep_{name}" for name in (*KEEP, "within", "tags"))


@dataclass(frozen=True)
class Dropping:
    """What somebody wants to be forgotten: by ``retention``, or exactly ``names``. ``root`` is the host root
    whose ledger says on which restore point a rollout relies. ``lost``: snapshots that were taken away, too."""

    retention: Retention
    names: tuple[str, ...] = ()
    host: Optional[str] = None
    root: Optional[str] = None
    lost: bool = False
    wait: float = 60.0
    identity_files: tuple[str, ...] = ()


@dataclass
class Forgotten:
    """What was forgotten and what prune reclaimed, or would. ``lost`` are those that were taken away before, by
    host: number and, where it is known, digest."""

    forgetting: Forgetting = field(default_factory=Forgetting)
    lost: Mapping[str, Sequence[tuple[int, Optional[str]]]] = field(default_factory=dict)
    pruned: Optional[Pruned] = None

    @property
    def changed(self) -> bool:
        pruned = self.pruned is not None and self.pruned.changed
        return bool(self.forgetting.dropped) or bool(self.lost) or pruned

    def lost_fields(self) -> list[dict[str, Any]]:
        return [
            {"host": host, "sequence": number, "digest": digest}
            for host, numbers in self.lost.items()
            for number, digest in numbers
        ]


def retention_from(options: Mapping[str, Any]) -> Retention:
    """Rules from options named like those of the module: ``keep_…``, ``schedules``, ``allow``."""
    unknown = set(options.get("allow") or ()) - set(ALLOWED)
    if unknown:
        raise ContinuityError(f"{sorted(unknown)[0]!r} cannot be allowed", fix=f"Say one of {', '.join(ALLOWED)}")
    schedules = {}
    for tag, rules in (options.get("schedules") or {}).items():
        wrong = set(rules) - RULES if isinstance(rules, dict) else {str(rules)}
        if wrong:
            raise ContinuityError(
                f"{sorted(wrong)[0]!r} is no rule",
                where=f"schedules: {tag}",
                fix=f"Rules are {', '.join(sorted(RULES))}",
            )
        schedules[tag] = _policy(rules)
    return Retention(_policy(options), schedules, frozenset(options.get("allow") or ()))


def _policy(options: Mapping[str, Any]) -> Policy:
    try:
        counts = {name: int(options.get(f"keep_{name}") or 0) for name in KEEP}
    except (TypeError, ValueError) as error:
        raise ContinuityError(f"A rule is not a number: {error}", fix="Give a number, or -1 for all") from error
    return Policy(**counts, within=options.get("keep_within") or "", tags=tuple(options.get("keep_tags") or ()))


def rollouts(root: Optional[str]) -> frozenset[str]:
    """The restore point that the ledger in a host root names for the unfinished, or else the latest rollout."""
    if root is None:
        return frozenset()
    entries = Chain(os.path.join(root, "ledger", "ledger.jsonl")).entries()
    points = [entry["restore_point"] for entry in entries if entry["event"] == "staged" and entry.get("restore_point")]
    return frozenset(points[-1:])


def forget(
    repository_path: str,
    wanted: Dropping,
    clock: Clock,
    *,
    prune: bool = False,
    max_unused: float = 5.0,
    check: bool = False,
    progress: Optional[Progress] = None,
) -> Forgotten:
    """Forget, and reclaim the space if it is wanted. With ``prune`` or ``lost`` there need not be a rule: then
    nothing that is there is forgotten. ``check`` says what would be done, and writes nothing."""
    repository = Repository.open(repository_path, wanted.identity_files)
    result = Forgotten()
    with refusals("Cannot forget", repository_path, "Run as the owner of the repository"):
        if wanted.lost:
            result.lost = forgetting.lost(repository) if check else forgetting.accept(repository, clock, wanted.wait)
        if wanted.names or wanted.retention or not (prune or wanted.lost):
            result.forgetting = forgetting.plan(
                repository,
                wanted.retention,
                clock.now(),
                names=wanted.names,
                host=wanted.host,
                rollouts=rollouts(wanted.root),
            )
            if not check:
                forgetting.apply(repository, result.forgetting, clock, wanted.wait, wanted.retention.allow)
        if prune:
            result.pruned = pruning.prune(
                repository,
                clock,
                max_unused=max_unused,
                wait=wanted.wait,
                check=check,
                without=frozenset(one.digest for one in result.forgetting.dropped),
                but_lost=wanted.lost,
                progress=progress,
            )
    return result


def prune(
    repository_path: str,
    clock: Clock,
    *,
    max_unused: float = 5.0,
    wait: float = 60.0,
    check: bool = False,
    identity_files: Sequence[str] = (),
    progress: Optional[Progress] = None,
) -> Pruned:
    """Reclaim the space of what no snapshot needs."""
    repository = Repository.open(repository_path, identity_files)
    with refusals("Cannot prune", repository_path, "Run as the owner of the repository"):
        return pruning.prune(repository, clock, max_unused=max_unused, wait=wait, check=check, progress=progress)


@dataclass(frozen=True)
class Scrubbing:
    """How a repository is to be scrubbed. ``share`` is like ``3/7``; ``heads`` a file outside of the repository
    that notes the newest snapshots. With ``heal`` damage is replaced from ``copies`` (folders with a repository),
    from an ``offsite`` copy and, with ``live``, from the files on this host."""

    share: str = "1/1"
    restart: bool = False
    heads: Optional[str] = None
    heal: bool = False
    copies: tuple[str, ...] = ()
    offsite: Optional[Copy] = None
    offsite_identity_files: tuple[str, ...] = ()
    live: bool = True
    wait: float = 60.0
    identity_files: tuple[str, ...] = ()


class OffsiteCopy:
    """An off-site copy to heal from: only what is asked for is fetched."""

    def __init__(self, far: Fetched, name: str) -> None:
        self.name = name
        self._far = far
        self._index = Index(far.repository)
        self._fetched = RepositoryCopy(str(far.repository.root), far.identity_files)

    def file(self, relative: str) -> Optional[bytes]:
        if relative.startswith("packs/") and not self._fetch([Path(relative).stem]):
            return None
        return self._fetched.file(relative)

    def block(self, digest: bytes) -> Optional[bytes]:
        for place in self._index.places(digest):
            if self._fetch([place.pack.hex()]):
                return self._fetched.block(digest)
        return None

    def _fetch(self, packs: Sequence[str]) -> bool:
        """Whether these packs could be had whole."""
        try:
            self._far.fetch_packs(packs)
        except (DamagedObjectError, MissingObjectError):
            # This copy is damaged too; others may not be.
            return False
        return True

    def close(self) -> None:
        self._fetched.close()


@dataclass
class Upkeep:
    """What scrub found, what heal replaced, and what is damaged after it (the same as ``found`` when nothing
    was healed). ``resumed`` are the packs that an earlier scrub had read, ``noted`` says that the file of
    the newest snapshots was changed, ``absent`` are copies to heal from that are not there."""

    found: Scrubbed
    healed: Healed
    left: Scrubbed
    resumed: int = 0
    noted: bool = False
    absent: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        left = self.left.fields()
        return {
            "damaged": left["damaged"],
            "touched": left["touched"],
            "found": [damage.fields() for damage in self.found.damages],
            "healed": self.healed.fields(),
            "unused": left["unused"],
            "unopened": left["unopened"],
            "absent": list(self.absent),
            "scrubbed": {**self.found.fields()["scrubbed"], "packs_resumed": self.resumed},
        }

    @property
    def changed(self) -> bool:
        return bool(self.healed) or self.noted

    def render(self) -> str:
        """One line a file or source of blocks that was replaced."""
        files = [f"{where}: from {source}\n" for where, source in sorted(self.healed.replaced.items())]
        blocks = [f"{count} blocks: from {source}\n" for source, count in sorted(self.healed.blocks.items())]
        return "".join(files + blocks)

    def faults(self) -> list[str]:
        """What is damaged and stays so, one sentence each, and whom it touches."""
        touched = [f"{snapshot}:{path}: is lost" for snapshot, paths in self.left.touched.items() for path in paths]
        absent = [f"{path}: there is no copy of a repository here" for path in self.absent]
        return [str(damage) for damage in self.left.damages] + touched + absent


def scrub(
    repository_path: str,
    wanted: Scrubbing,
    clock: Clock,
    *,
    check: bool = False,
    progress: Optional[Progress] = None,
) -> Upkeep:
    """Scrub, and heal if it is wanted. ``check`` heals and notes nothing."""
    root = Path(repository_path)
    if not is_repository(repository_path):
        raise RepositoryError("There is no repository here", where=repository_path, fix="Name the folder of one")
    share = scrubbing.Share.parse(wanted.share)
    with refusals("Cannot scrub", repository_path, "Make room or give permission, and run again"):
        bare = Repository(root, {"id": "", "features": []})
        checkpoint = Checkpoint(bare, str(share), clock, wanted.restart)
        resumed, read = len(checkpoint.checked), [0, 0]

        def seen(pack: bytes, size: int) -> None:
            read[0], read[1] = read[0] + 1, read[1] + size
            if not check:
                checkpoint.add(pack)
            if progress:
                progress(read[0], read[1])

        found = scrubbing.scrub(
            root,
            identity_files=wanted.identity_files,
            share=share,
            checked=frozenset(checkpoint.checked),
            heads=_heads(wanted.heads),
            seen=seen,
        )
        if not check:
            checkpoint.finish()
        healed, left = Healed(), found
        if wanted.heal and found.damages:
            healed, left = _heal(root, wanted, found, share, frozenset(checkpoint.checked), clock, check)
        certain = not {damage.kind for damage in left.damages} & UNCERTAIN
        noted = bool(wanted.heads and certain and _note_heads(wanted.heads, bare, check))
    absent = tuple(path for path in wanted.copies if wanted.heal and not _is_there(path))
    return Upkeep(found, healed, left, resumed, noted, absent)


def _is_there(copy: str) -> bool:
    """A peer that is not mounted must not keep others from helping."""
    return os.path.isdir(os.path.join(copy, "packs"))


def _heal(
    root: Path,
    wanted: Scrubbing,
    found: Scrubbed,
    share: scrubbing.Share,
    sound: frozenset[bytes],
    clock: Clock,
    check: bool,
) -> tuple[Healed, Scrubbed]:
    bare = Repository(root, {"id": "", "features": []})
    with ExitStack() as stack:
        copies: list[GoodCopy] = [
            RepositoryCopy(path, wanted.identity_files) for path in wanted.copies if _is_there(path)
        ]
        if wanted.offsite:
            identities = (*wanted.offsite_identity_files, *wanted.identity_files)
            far = stack.enter_context(fetched(wanted.offsite, identities, None))
            copies.append(OffsiteCopy(far, wanted.offsite.destination.url))
        for copy in copies:
            stack.callback(copy.close)
        healing = Healing(root, copies, clock, live=wanted.live, apply=not check)
        if not check:
            stack.enter_context(maintaining(bare, clock, wanted.wait))
            bare.clear_staging(HEALING)
        healing.config(found)
        try:
            repository = Repository.open(str(root), wanted.identity_files)
        except DamagedError:
            # Without its config.json, which no copy has either, nothing else can be judged.
            return healing.result, found
        healing.small_files(repository, found, wanted.wait)
        healing.heads(repository, _heads(wanted.heads), wanted.wait)
        healing.packs(repository, found, wanted.wait)
        if check:
            return healing.result, found
        bare.clear_staging(HEALING)
    heads = _heads(wanted.heads)
    left = scrubbing.scrub(root, identity_files=wanted.identity_files, share=share, checked=sound, heads=heads)
    return healing.result, left


def _heads(file: Optional[str]) -> dict[str, Head]:
    if file is None or not os.path.exists(file):
        return {}
    try:
        noted = json.loads(read_published(Path(os.path.realpath(file)), LARGEST_CONFIG))
        return {str(host): Head(int(head["sequence"]), str(head["digest"])) for host, head in noted.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RepositoryError(
            "This is not a note of the newest snapshots", where=file, fix="Name another file, or remove it"
        ) from error


def _note_heads(file: str, repository: Repository, check: bool) -> bool:
    """Note the newest snapshots; whether that is, or would be, a change."""
    heads = scrubbing.heads_of(repository)
    if heads == _heads(file):
        return False
    if not check:
        write_file(os.path.abspath(file), canonical({host: head._asdict() for host, head in heads.items()}))
    return True
