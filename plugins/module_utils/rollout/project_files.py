# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a project belong to a release, and what each of them is."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Iterator, Mapping

from ..errors import ContinuityError
from ..journal.chain import canonical

LEFT_OUT = (
    ".git", ".hg", ".svn", ".gitignore", ".gitattributes", ".github", ".continuityignore",
    "__pycache__", "*.py[co]", ".venv", "venv", "node_modules", "*.egg-info",
    ".tox", ".nox", ".cache", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".coverage",
    ".idea", ".vscode", ".DS_Store", "*.swp", "*~", "*.log", "*.pid", ".env", ".env.*",
)  # fmt: skip
"""Names that are never part of a release, as globs on the last part of a path. A folder that holds
``pyvenv.cfg`` is left out whatever its name."""

IGNORE_FILE = ".continuityignore"
"""More globs, one a line, in the project's root: on a name, or with a slash on the whole path."""


class ProjectError(ContinuityError):
    """A project that cannot become a release as it stands."""


@dataclass(frozen=True)
class ProjectFile:
    """One file: where it really lies, and what it was when it was read. ``mode`` is 0644 or 0755."""

    source: str
    sha256: str
    size: int
    mode: int

    def read(self) -> bytes:
        """Its content. Raises ProjectError when that is no longer what was described."""
        with open(self.source, "rb") as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ProjectError("the file changed while the release was built", where=self.source, fix="Run again")
        return content


def scan(root: str) -> dict[str, ProjectFile]:
    """Every file that belongs to a release, by its path relative to ``root``, sorted.

    Links are followed inside the project. Raises ProjectError for a link that leads out of it or
    around in a circle, for what is neither file nor folder, and for what cannot be read.
    """
    top = os.path.realpath(root)
    if not os.path.isdir(top):
        raise ProjectError("the project is no folder", where=root, fix="Set continuity_project to the agents' code")
    patterns = (*LEFT_OUT, *_own_patterns(top))
    try:
        return dict(sorted(_walk(top, top, "", patterns, (top,))))
    except OSError as error:
        raise ProjectError(f"the project cannot be read: {error.strerror}", where=str(error.filename)) from error


def tree_digest(files: Mapping[str, ProjectFile]) -> str:
    """One digest for the whole project: paths, contents, executable or not."""
    return hashlib.sha256(
        canonical({path: [file.sha256, file.mode] for path, file in files.items()}).encode()
    ).hexdigest()


def _own_patterns(top: str) -> list[str]:
    path = os.path.join(top, IGNORE_FILE)
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file]
    return [line.strip("/") for line in lines if line and not line.startswith("#")]


def _walk(
    top: str, folder: str, inside: str, patterns: tuple[str, ...], within: tuple[str, ...]
) -> Iterator[tuple[str, ProjectFile]]:
    """``inside`` is the folder's path in the release, ``within`` the real folders that lead to it."""
    if os.path.exists(os.path.join(folder, "pyvenv.cfg")):
        return
    with os.scandir(folder) as listing:
        names = sorted(entry.name for entry in listing)
    for name in names:
        path = f"{inside}/{name}" if inside else name
        if any(fnmatchcase(path if "/" in pattern else name, pattern) for pattern in patterns):
            continue
        real = os.path.realpath(os.path.join(folder, name))
        if os.path.commonpath((top, real)) != top:
            raise ProjectError(
                f"the link leads out of the project, to {real}",
                where=os.path.join(folder, name),
                fix=f"Put the file itself into the project, or name it in {IGNORE_FILE}",
            )
        kind = os.stat(os.path.join(folder, name)).st_mode
        if stat.S_ISDIR(kind):
            if real in within:
                raise ProjectError("the link leads around in a circle", where=os.path.join(folder, name))
            yield from _walk(top, real, path, patterns, (*within, real))
        elif stat.S_ISREG(kind):
            yield path, _described(real, kind)
        else:
            raise ProjectError("this is neither a file nor a folder", where=os.path.join(folder, name))


def _described(path: str, mode: int) -> ProjectFile:
    with open(path, "rb") as file:
        content = file.read()
    return ProjectFile(path, hashlib.sha256(content).hexdigest(), len(content), 0o755 if mode & 0o111 else 0o644)
