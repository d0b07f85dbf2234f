# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot repository beside restic, borg, rsync and tar, on one corpus, interleaved in one run.

    repository.py --scale 0.1 --rounds 3 --folder /var/tmp/bench

Scale 1 is about 20,000 small files, logs, SQLite databases and incompressible documents, 1.7 GB. For each
tool: a first snapshot, one without a change, one after 1 % has changed, verify of all data, a full
restore, one file. Prints medians of wall and CPU seconds, peak memory, repository size, and our ratio to
the best of restic and borg. Tools that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Optional, Sequence

CHECKOUT = Path(__file__).resolve().parents[2]
COLLECTIONS = CHECKOUT / ".cache" / "collections"
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));"
    "from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main; sys.exit(main())"
)
OPERATIONS = ("first", "no change", "1 % change", "verify", "restore", "one file")


def text(chance: random.Random, size: int) -> bytes:
    words = ["agent", "status", "healthy", "port", "memory", "request", "latency_ms", "queue", "error", "model"]
    made = []
    length = 0
    while length < size:
        entry = f'{{"{chance.choice(words)}": {chance.randrange(10**6)}, "{chance.choice(words)}": "{chance.choice(words)}"}}\n'
        made.append(entry)
        length += len(entry)
    return "".join(made).encode()[:size]


def make_corpus(tree: Path, scale: float) -> None:
    """The same bytes for the same scale: 60 % incompressible by size, the rest text and databases."""
    chance = random.Random(20260131)
    for number in range(int(20_000 * scale)):
        file = tree / f"state/agent-{number % 77:02d}/{number:05d}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text(chance, chance.randrange(200, 8000)))
    for number in range(max(1, int(40 * scale))):
        file = tree / f"logs/agent-{number:02d}.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text(chance, 300_000) * 20)
    for number in range(max(1, int(20 * scale))):
        file = tree / f"data/{number:02d}.db"
        file.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(file) as database:
            database.execute("create table facts (id integer primary key, fact text, blob)")
            rows = ((text(chance, 300).decode(), chance.randbytes(200)) for _unused in range(25_000))
            database.executemany("insert into facts (fact, blob) values (?, ?)", rows)
        database.close()
    for number in range(max(1, int(500 * scale))):
        file = tree / f"legal/{number:03d}.pdf"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(chance.randbytes(2_000_000))


def change(tree: Path, generation: int) -> None:
    """1 % of the small files rewritten, logs grown, 1 % of the rows of each database updated."""
    chance = random.Random(generation)
    small = sorted((tree / "state").rglob("*.txt"))
    for file in chance.sample(small, max(1, len(small) // 100)):
        file.write_bytes(text(chance, chance.randrange(200, 8000)))
    for file in sorted((tree / "logs").iterdir()):
        with open(file, "ab") as stream:
            stream.write(text(chance, 60_000))
    for file in sorted((tree / "data").iterdir()):
        with sqlite3.connect(file) as database:
            first = chance.randrange(24_000)
            database.execute("update facts set blob = randomblob(200) where id between ? and ?", (first, first + 250))
        database.close()


@dataclass
class Cost:
    wall: float
    cpu: float
    memory: float


def measure(argv: Sequence[object], environment: dict[str, str], cwd: Optional[Path] = None) -> Cost:
    begun = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in argv],
        env={**os.environ, **environment},
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    said = process.stderr.read().decode(errors="replace") if process.stderr else ""
    _unused, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{argv}: {said}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


Commands = Callable[[str, Path, Path, Path], list[object]]


@dataclass
class Tool:
    """``commands(operation, tree, repository, target)`` is what is run; ``prepare`` once, before the clock."""

    name: str
    commands: Commands
    prepare: Callable[[Path], Optional[list[object]]]
    environment: dict[str, str]


def ours(operation: str, tree: Path, repository: Path, target: Path) -> list[object]:
    base = [sys.executable, "-c", PROGRAM, COLLECTIONS]
    if operation == "verify":
        return [*base, "verify", "--repository", repository]
    if operation == "restore":
        return [*base, "restore", "latest", "--repository", repository, "--target", target]
    if operation == "one file":
        return [*base, "restore", "latest", "--repository", repository, "--target", target, "--include", one_file(tree)]
    return [*base, "snapshot", "--repository", repository, "--host", "bench", tree]


def restic(operation: str, tree: Path, repository: Path, target: Path) -> list[object]:
    base = ["restic", "--no-cache", "-r", repository]
    if operation == "verify":
        return [*base, "check", "--read-data"]
    if operation == "restore":
        return [*base, "restore", "latest", "--target", target]
    if operation == "one file":
        return [*base, "restore", "latest", "--target", target, "--include", one_file(tree)]
    return [*base, "backup", tree]


def borg(operation: str, tree: Path, repository: Path, target: Path) -> list[object]:
    if operation == "verify":
        return ["borg", "check", "--verify-data", repository]
    newest = f"{repository}::{_borg_newest(repository)}" if operation in ("restore", "one file") else ""
    if operation == "restore":
        return ["borg", "extract", newest]
    if operation == "one file":
        return ["borg", "extract", newest, str(one_file(tree)).lstrip("/")]
    return ["borg", "create", "--compression", "zstd,3", f"{repository}::{time.time_ns()}", tree]


BORG = {
    "BORG_PASSPHRASE": "bench",
    "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
    "BORG_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES",
}


def _borg_newest(repository: Path) -> str:
    listed = subprocess.run(
        ["borg", "list", "--short", "--last", "1", repository],
        env={**os.environ, **BORG},
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.strip()


def rsync(operation: str, tree: Path, repository: Path, target: Path) -> list[object]:
    number = len(list(repository.iterdir()))
    newest = repository / str(number - 1)
    if operation == "verify":
        return ["rsync", "-a", "--checksum", "--dry-run", f"{tree}/", newest]
    if operation == "restore":
        return ["rsync", "-a", f"{newest}/", target]
    if operation == "one file":
        return ["rsync", "-a", newest / one_file(tree).relative_to(tree), target]
    return ["rsync", "-a", f"--link-dest={newest}", f"{tree}/", repository / str(number)]


def tar(operation: str, tree: Path, repository: Path, target: Path) -> list[object]:
    number = len(list(repository.iterdir()))
    newest = repository / f"{number - 1}.tar.zst"
    if operation == "verify":
        return ["zstd", "-q", "-t", newest]
    if operation == "restore":
        return ["tar", "-I", "zstd", "-xf", newest, "-C", target]
    if operation == "one file":
        return ["tar", "-I", "zstd", "-xf", newest, "-C", target, str(one_file(tree)).lstrip("/")]
    return ["tar", "-I", "zstd -T0", "-cf", repository / f"{number}.tar.zst", "-C", "/", str(tree).lstrip("/")]


def one_file(tree: Path) -> Path:
    return tree / "state/agent-07/00007.txt"


def _make(repository: Path) -> None:
    repository.mkdir()


TOOLS = (
    Tool("continuity", ours, lambda repository: None, {}),
    Tool(
        "restic",
        restic,
        lambda repository: ["restic", "--no-cache", "-r", repository, "init"],
        {"RESTIC_PASSWORD": "bench"},
    ),
    Tool("borg", borg, lambda repository: ["borg", "init", "--encryption", "repokey", repository], BORG),
    Tool("rsync", rsync, _make, {}),
    Tool("tar", tar, _make, {}),
)


def rounds(tools: Sequence[Tool], folder: Path, scale: float, number: int) -> Iterator[tuple[str, str, Cost, int]]:
    for turn in range(number):
        tree = folder / "tree"
        shutil.rmtree(folder, ignore_errors=True)
        make_corpus(tree, scale)
        for tool in tools:
            prepared = tool.prepare(folder / tool.name)
            if prepared:
                measure(prepared, tool.environment)
        for operation in OPERATIONS:
            if operation == "1 % change":
                change(tree, turn)
            for tool in tools:
                repository, target = folder / tool.name, folder / f"target-{tool.name}"
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir()
                argv = tool.commands(operation, tree, repository, target)
                cost = measure(argv, tool.environment, cwd=target)
                size = sum(file.lstat().st_size for file in repository.rglob("*") if file.is_file())
                yield tool.name, operation, cost, size
        shutil.rmtree(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/continuity-bench"))
    parser.add_argument("--result", type=Path, help="write every figure as JSON to this file too")
    arguments = parser.parse_args()
    tools = [tool for tool in TOOLS if tool.name == "continuity" or shutil.which(tool.name)]
    absent = [tool.name for tool in TOOLS if tool not in tools]
    costs: dict[tuple[str, str], list[Cost]] = {}
    sizes: dict[tuple[str, str], int] = {}
    for name, operation, cost, size in rounds(tools, arguments.folder, arguments.scale, arguments.rounds):
        costs.setdefault((name, operation), []).append(cost)
        sizes[name, operation] = size
        print(
            f"{operation:<11} {name:<11} {cost.wall:7.2f} s wall {cost.cpu:7.2f} s CPU {cost.memory:5.0f} MB",
            flush=True,
        )

    def median(name: str, operation: str, what: str) -> float:
        return statistics.median(getattr(cost, what) for cost in costs[name, operation])

    print(
        f"\nscale {arguments.scale}, medians of {arguments.rounds}: wall s / CPU s / MB (load {os.getloadavg()[0]:.1f})"
    )
    print(
        f"{'':<12}"
        + "".join(f"{tool.name:>22}" for tool in tools)
        + "   ratio to the best of restic and borg (wall, CPU)"
    )
    peers = [tool.name for tool in tools if tool.name in ("restic", "borg")]
    for operation in OPERATIONS:
        row = "".join(
            f"{median(tool.name, operation, 'wall'):8.2f} /{median(tool.name, operation, 'cpu'):6.2f} /{median(tool.name, operation, 'memory'):4.0f}"
            for tool in tools
        )
        ratio = "".join(
            f"  {median('continuity', operation, what) / min(median(peer, operation, what) for peer in peers):.2f}"
            for what in ("wall", "cpu")
            if peers
        )
        print(f"{operation:<12}{row}  {ratio}")
    for operation in ("first", "1 % change"):
        print(
            f"{'MB, ' + operation:<16}" + "".join(f"{sizes[tool.name, operation] / 1e6:>18.1f}    " for tool in tools)
        )
    if absent:
        print(f"not installed: {', '.join(absent)}")
    if arguments.result:
        arguments.result.write_text(
            json.dumps(
                {
                    f"{name}: {operation}": [vars(cost) for cost in listed]
                    for (name, operation), listed in costs.items()
                },
                indent=1,
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
