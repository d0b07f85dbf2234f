# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools that are compared: for each one, the command line of each operation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Mapping, Optional, Sequence

import repository_corpus

Argv = Sequence[object]


@dataclass
class Place:
    """Where one tool works. ``taken`` counts its snapshots so far, so the newest one has the number
    ``taken - 1``; ``program`` is continuity.pyz; ``folder`` is for caches and keys."""

    tree: Path
    repository: Path
    target: Path
    folder: Path
    program: Path
    taken: int = 0

    @property
    def one_file(self) -> Path:
        return repository_corpus.one_file(self.tree)


@dataclass(frozen=True)
class Tool:
    """``restored`` is the folder under the target that then equals the tree; ``peer``: the goals are measured
    against it; ``turns``: in how many rounds it takes part (None: all); ``ten``: it takes part in the ten rounds
    of changes; ``program`` is what must be installed."""

    name: str
    program: str
    operations: Mapping[str, Callable[[Place], Argv]]
    restored: Callable[[Place], Path] = lambda place: place.target / str(place.tree).lstrip("/")
    prepare: Callable[[Place], Sequence[Argv]] = lambda place: ()
    environment: Callable[[Place], Mapping[str, str]] = lambda place: {}
    peer: bool = False
    ten: bool = True
    turns: Optional[int] = None
    version: Sequence[str] = field(default_factory=tuple)

    def argv(self, operation: str, place: Place) -> Argv:
        return self.operations["snapshot" if operation in ("first", "no change", "1 % change") else operation](place)

    def installed(self) -> bool:
        return shutil.which(self.program) is not None

    def says(self) -> str:
        """The version, as the tool prints it."""
        if not self.version:
            return ""
        ended = subprocess.run(self.version, capture_output=True, text=True, check=False)
        return (ended.stdout + ended.stderr).splitlines()[0].strip() if ended.returncode == 0 else "unknown"


def continuity(encrypted: bool) -> Tool:
    def command(place: Place, *words: object) -> Argv:
        return [sys.executable, place.program, words[0], "--repository", place.repository, *words[1:]]

    def identity(place: Place) -> Argv:
        return ["--identity-file", place.folder / "identity"] if encrypted else []

    def prepare(place: Place) -> Sequence[Argv]:
        if not encrypted:
            return [command(place, "init")]
        import pyrage

        key = pyrage.x25519.Identity.generate()
        identity = place.folder / "identity"
        identity.write_text(f"{key}\n")
        identity.chmod(0o600)
        return [command(place, "init", "--recipient", str(key.to_public()))]

    return Tool(
        "continuity",
        sys.executable,
        {
            "snapshot": lambda place: command(place, "snapshot", "--host", "bench", *identity(place), place.tree),
            # As deep as the others go: every stored byte, every block. Then what only a restore would find.
            "verify": lambda place: command(place, "verify", "--level", "data", *identity(place)),
            "verify files": lambda place: command(place, "verify", "--level", "files", *identity(place)),
            "restore": lambda place: command(place, "restore", "latest", "--target", place.target, *identity(place)),
            "one file": lambda place: command(
                place, "restore", "latest", "--target", place.target, "--include", place.one_file, *identity(place)
            ),
        },
        prepare=prepare,
    )


def restic() -> Tool:
    def command(place: Place, *words: object) -> Argv:
        return ["restic", "--quiet", "--repo", place.repository, *words]

    return Tool(
        "restic",
        "restic",
        {
            "snapshot": lambda place: command(place, "backup", place.tree),
            "verify": lambda place: command(place, "check", "--read-data"),
            "restore": lambda place: command(place, "restore", "latest", "--target", place.target),
            "one file": lambda place: command(
                place, "restore", "latest", "--target", place.target, "--include", place.one_file
            ),
        },
        prepare=lambda place: [command(place, "init", "--repository-version", "2")],
        environment=lambda place: {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(place.folder / "cache")},
        peer=True,
        version=("restic", "version"),
    )


def borg(name: str, compression: str, encryption: str, peer: bool) -> Tool:
    def newest(place: Place) -> str:
        return f"{place.repository}::{place.taken - 1}"

    return Tool(
        name,
        "borg",
        {
            "snapshot": lambda place: [
                *("borg", "create", "--compression", compression),
                *(f"{place.repository}::{place.taken}", place.tree),
            ],
            "verify": lambda place: ["borg", "check", "--verify-data", place.repository],
            "restore": lambda place: ["borg", "extract", newest(place)],
            "one file": lambda place: ["borg", "extract", newest(place), str(place.one_file).lstrip("/")],
        },
        prepare=lambda place: [["borg", "init", "--encryption", encryption, place.repository]],
        environment=lambda place: {
            "BORG_BASE_DIR": str(place.folder),
            "BORG_PASSPHRASE": "bench",
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES",
        },
        peer=peer,
        version=("borg", "--version"),
    )


def rsync() -> Tool:
    def newest(place: Place) -> Path:
        return place.repository / str(place.taken - 1)

    return Tool(
        "rsync",
        "rsync",
        {
            "snapshot": lambda place: [
                *("rsync", "--archive", *([f"--link-dest={newest(place)}"] if place.taken else [])),
                *(f"{place.tree}/", place.repository / str(place.taken)),
            ],
            "verify": lambda place: ["rsync", "--archive", "--checksum", "--dry-run", f"{place.tree}/", newest(place)],
            "restore": lambda place: ["rsync", "--archive", f"{newest(place)}/", place.target],
            "one file": lambda place: [
                "rsync",
                "--archive",
                newest(place) / place.one_file.relative_to(place.tree),
                place.target,
            ],
        },
        restored=lambda place: place.target,
        prepare=lambda place: [["mkdir", place.repository]],
        version=("rsync", "--version"),
    )


def tar() -> Tool:
    def newest(place: Place) -> Path:
        return place.repository / f"{place.taken - 1}.tar.zst"

    def extract(place: Place, *words: object) -> Argv:
        return ["tar", "--use-compress-program=zstd", "-xf", newest(place), "-C", place.target, *words]

    return Tool(
        "tar|zstd",
        "zstd",
        {
            "snapshot": lambda place: [
                *("tar", "--use-compress-program=zstd -T0", "-cf", place.repository / f"{place.taken}.tar.zst"),
                *("-C", "/", str(place.tree).lstrip("/")),
            ],
            "verify": lambda place: ["zstd", "--quiet", "--test", newest(place)],
            "restore": extract,
            "one file": lambda place: extract(place, str(place.one_file).lstrip("/")),
        },
        prepare=lambda place: [["mkdir", place.repository]],
        ten=False,
        version=("zstd", "--version"),
    )


ARCHIVE = """\
import sys, tarfile
what, archive, *rest = sys.argv[1:]
if what == "pack":
    with tarfile.open(archive, "w|gz") as packed:
        packed.add(rest[0])
else:
    with tarfile.open(archive) as packed:
        members = packed if what == "all" else [packed.getmember(rest[1].lstrip("/"))]
        packed.extractall(rest[0], members=members)
"""


def archive() -> Tool:
    """What the usual archive module of Ansible does: Python's tarfile, gzip."""

    def command(what: str, place: Place, number: int, *words: object) -> Argv:
        return [sys.executable, "-c", ARCHIVE, what, place.repository / f"{number}.tar.gz", *words]

    return Tool(
        "archive",
        "gzip",
        {
            "snapshot": lambda place: command("pack", place, place.taken, place.tree),
            "verify": lambda place: ["gzip", "--test", place.repository / f"{place.taken - 1}.tar.gz"],
            "restore": lambda place: command("all", place, place.taken - 1, place.target),
            "one file": lambda place: command("one", place, place.taken - 1, place.target, place.one_file),
        },
        prepare=lambda place: [["mkdir", place.repository]],
        ten=False,
        turns=1,
    )


def compared(encrypted: bool) -> list[Tool]:
    """Like beside like: without encryption borg has none either (restic always has); with it, both have."""
    if encrypted:
        return [
            continuity(True),
            restic(),
            borg("borg zstd", "zstd,3", "repokey", peer=True),
            borg("borg lz4", "lz4", "repokey", peer=False),
        ]
    return [
        continuity(False),
        restic(),
        borg("borg zstd", "zstd,3", "none", peer=True),
        borg("borg lz4", "lz4", "none", peer=False),
        rsync(),
        tar(),
        archive(),
    ]


def same(tool: Tool, place: Place) -> str:
    """Whether a full restore brought everything back: empty, or what is wrong."""
    restored, wrong = tool.restored(place), []
    for file in sorted(place.tree.rglob("*")):
        other = restored / file.relative_to(place.tree)
        if file.is_dir() or file.name.endswith(("-wal", "-shm")):
            # What belongs to a database is in its copy.
            continue
        if not other.is_file():
            wrong.append(f"{other} is missing")
        elif file.suffix != ".db" and os.stat(file).st_size != os.stat(other).st_size:
            # A database may come back as the copy that SQLite made of it.
            wrong.append(f"{other} has another size")
    for file in sorted((place.tree / "state").rglob("*.json"))[::50]:
        if file.read_bytes() != (restored / file.relative_to(place.tree)).read_bytes():
            wrong.append(f"{restored / file.relative_to(place.tree)} differs")
    return "; ".join(wrong[:3])
