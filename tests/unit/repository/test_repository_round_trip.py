# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees as nobody would make them come back as they were."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock

names = st.binary(min_size=1, max_size=60).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
contents = st.one_of(
    # What only starts like a database is reported as damaged, and tested elsewhere.
    st.binary(max_size=300).filter(lambda content: not content.startswith(b"SQLite format 3\0")),
    st.tuples(st.binary(min_size=1, max_size=5), st.integers(1, 80_000)).map(lambda pair: pair[0] * pair[1]),
)
leaves = st.one_of(
    st.tuples(st.just("file"), contents, st.integers(0, 0o7777), st.integers(0, 2**33 * 10**9)),
    st.tuples(st.just("link"), names),
    st.tuples(st.just("sparse"), st.integers(1, 3_000_000), contents),
    st.tuples(st.just("again")),
    st.tuples(st.just("pipe"), st.integers(0, 0o777)),
)
trees = st.recursive(
    st.dictionaries(names, leaves, max_size=4),
    lambda inner: st.dictionaries(names, st.one_of(leaves, inner), max_size=4),
    max_leaves=12,
)


def make(folder: bytes, tree: dict[bytes, Any], files: list[bytes]) -> None:
    for name, node in tree.items():
        path = folder + b"/" + name
        if isinstance(node, dict):
            os.mkdir(path)
            make(path, node, files)
            os.chmod(path, 0o750)
        elif node[0] == "link":
            os.symlink(node[1], path)
        elif node[0] == "pipe":
            os.mkfifo(path)
            os.chmod(path, node[1])
        elif node[0] == "again" and files:
            os.link(files[-1], path)
        else:
            with open(path, "wb") as stream:
                if node[0] == "sparse":
                    stream.seek(node[1])
                stream.write(node[2] if node[0] == "sparse" else node[1] if node[0] == "file" else b"")
            if node[0] == "file":
                os.chmod(path, node[2] | 0o400)
                os.utime(path, ns=(node[3], node[3]))
            files.append(path)


def seen(folder: bytes) -> dict[bytes, tuple[Any, ...]]:
    """Everything about a tree that a snapshot promises to bring back; links between files as groups."""
    found: dict[bytes, tuple[Any, ...]] = {}
    first: dict[int, bytes] = {}
    for parent, folders, files in os.walk(folder):
        for name in sorted(folders + files):
            path = parent + b"/" + name
            status = os.lstat(path)
            what: Any = None
            if stat.S_ISREG(status.st_mode):
                what = (Path(os.fsdecode(path)).read_bytes(), first.setdefault(status.st_ino, path[len(folder) :]))
            elif stat.S_ISLNK(status.st_mode):
                what = os.readlink(path)
            found[path[len(folder) :]] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, what)
    return found


@settings(max_examples=int(os.environ.get("ROUND_TRIPS", "40")), deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees, later=st.dictionaries(names, leaves, max_size=3))
def test_any_tree_comes_back(tree: dict[bytes, Any], later: dict[bytes, Any]) -> None:
    folder = tempfile.mkdtemp(prefix="continuity-")
    try:
        source, target, repository = f"{folder}/source", f"{folder}/target", f"{folder}/repository"
        os.mkdir(source)
        files: list[bytes] = []
        make(source.encode(), tree, files)
        wanted = snapshots.Wanted("pc2", (source,), documents=())
        first = snapshots.take_snapshot(repository, wanted, SystemClock())
        assert first.manifest is not None and first.problems == []
        expected = seen(source.encode())
        make(source.encode(), {name: node for name, node in later.items() if name not in tree}, files)
        snapshots.take_snapshot(repository, wanted, SystemClock())
        assert snapshots.verify_repository(repository).faults() == []
        for name, really in ((first.manifest.digest, expected), ("latest", seen(source.encode()))):
            _unused, restored = snapshots.restore_snapshot(repository, name, target=f"{target}-{name[:6]}")
            assert restored.failed == {}
            assert seen(f"{target}-{name[:6]}{source}".encode()) == (
                really if name == "latest" else {path: really[path] for path in really}
            )
            again = snapshots.restore_snapshot(repository, name, target=f"{target}-{name[:6]}")[1]
            assert (again.created, again.changed) == ([], [])
        assert snapshots.compare_tree(repository, "latest", "/").faults() == []
    finally:
        shutil.rmtree(folder)
