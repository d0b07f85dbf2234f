# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet's host holds, as a corpus: the same bytes for the same size, made by all cores in seconds.

| part | at scale 1 | what it is |
|---|---|---|
| state | 20,000 files, 150 MB | documents, configs, sources of a few KB |
| logs | 77 files, 650 MB | lines with time, level, message, numbers |
| data | 32 files, 480 MB | SQLite databases, text and random bytes; every third one in WAL mode |
| legal | 200 files, 400 MB | documents that no tool can compress |
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Callable

SEED = 20260131
AGENTS = 77
FOLDERS = 616
SMALL_FILES = 20_000
LOG_BYTES = 8_450_000
DATABASES = 32
ROWS = 24_500
DOCUMENTS = 200
LEVELS = ("INFO",) * 12 + ("DEBUG",) * 4 + ("WARNING", "ERROR")
KINDS = ("json", "json", "json", "yaml", "py")
ENTRY = {
    "json": '  {"key": "%s", "state": "%s", "count": %d, "updated": 17%08d},\n',
    "yaml": "  - name: %s\n    role: %s\n    port: %d\n    limit: %d\n",
    "py": "def %s(%s):\n    return lookup(%d, timeout=%d)\n\n\n",
}


@cache
def words() -> list[str]:
    """A language of 4,000 words; common ones stand there several times."""
    chance = random.Random(SEED)
    syllables = [first + second for first in "bcdfgklmnprstvw" for second in ("a", "e", "i", "o", "u", "er", "in")]
    made = ["".join(chance.choices(syllables, k=chance.randrange(2, 5))) for _unused in range(4000)]
    return [word for rank, word in enumerate(made) for _unused in range(1 + 8000 // (rank + 20))]


def prose(chance: random.Random, size: int) -> str:
    """So much of that language, never the same twice."""
    return " ".join(chance.choices(words(), k=size // 6 + 1))[:size]


def small_size(chance: random.Random) -> int:
    return min(200_000, int(math.exp(chance.gauss(8.4, 1.0))))


def small_file(chance: random.Random, kind: str) -> bytes:
    size = small_size(chance)
    count = 1 + size // (2 * len(ENTRY[kind]))
    first, second = chance.choices(words(), k=count), chance.choices(words(), k=count)
    entries = "".join(
        ENTRY[kind] % (one, other, chance.getrandbits(16), chance.getrandbits(24)) for one, other in zip(first, second)
    )
    notes = prose(chance, size // 2)
    if kind == "json":
        return f'{{"notes": {json.dumps(notes)},\n"entries": [\n{entries[:-2]}\n]}}\n'.encode()
    return f"# {notes}\n{entries}".encode()


def small_path(tree: Path, number: int) -> Path:
    folder = number % FOLDERS
    return tree / f"state/agent-{folder % AGENTS:02d}/{folder // AGENTS}/{number:06d}.{KINDS[number % len(KINDS)]}"


def log_lines(chance: random.Random, agent: int, start: int, size: int) -> bytes:
    messages = [prose(random.Random(SEED + agent * 50 + number), 30 + number) for number in range(40)]
    count = size // 125 + 1
    made, second = [], start
    for level, message, port, latency in zip(
        chance.choices(LEVELS, k=count),
        chance.choices(messages, k=count),
        chance.choices(range(30_000, 61_000), k=count),
        chance.choices(range(4_000_000), k=count),
    ):
        second += latency & 1
        made.append(
            f"2026-01-{1 + second // 86400 % 31:02d}T{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
            f".{latency % 1000:03d}Z {level} agent-{agent:02d} {message} peer=127.0.0.1:{port} latency_us={latency}\n"
        )
    return "".join(made).encode()


def rows(chance: random.Random, count: int) -> list[tuple[str, bytes, int]]:
    lengths = chance.choices(range(100, 600), k=count)
    ends = list(accumulate(lengths))
    text = prose(chance, ends[-1])
    return [(text[end - length : end], chance.randbytes(200), end) for length, end in zip(lengths, ends)]


def _state(tree: Path, chance: random.Random, begin: int, end: int) -> None:
    for number in range(begin, end):
        file = small_path(tree, number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(small_file(chance, file.suffix[1:]))


def _log(tree: Path, chance: random.Random, agent: int, size: int) -> None:
    (tree / f"logs/agent-{agent:02d}.log").write_bytes(log_lines(chance, agent, 0, size))


def _database(tree: Path, chance: random.Random, number: int, count: int) -> None:
    with contextlib.closing(sqlite3.connect(tree / f"data/{number:02d}.db")) as database:
        with database:
            database.execute("pragma synchronous=off")
            database.execute("create table facts (id integer primary key, fact text, vector blob, seen integer)")
            database.executemany("insert into facts (fact, vector, seen) values (?, ?, ?)", rows(chance, count))
        if number % 3 == 0:
            database.execute("pragma journal_mode=wal")


def _documents(tree: Path, chance: random.Random, begin: int, end: int, prefix: str = "") -> None:
    for number in range(begin, end):
        (tree / f"legal/{prefix}{number:04d}.pdf").write_bytes(chance.randbytes(chance.randrange(500_000, 3_500_000)))


def make(tree: Path, files: float, bulk: float) -> None:
    """``files`` and ``bulk`` are the shares of the table above: of the small files, of everything else."""
    for name in ("state", "logs", "data", "legal"):
        (tree / name).mkdir(parents=True)
    small, documents = round(SMALL_FILES * files), max(1, round(DOCUMENTS * bulk))
    databases, agents = max(1, round(DATABASES * bulk)), max(1, round(AGENTS * min(1.0, bulk)))
    log_size = round(LOG_BYTES * AGENTS * bulk / agents)
    parts: list[tuple[Callable[..., None], tuple[int, ...]]] = [
        *((_log, (agent, log_size)) for agent in range(agents)),
        *((_database, (number, ROWS)) for number in range(databases)),
        *((_state, (begin, min(begin + 2500, small))) for begin in range(0, small, 2500)),
        *((_documents, (begin, min(begin + 25, documents))) for begin in range(0, documents, 25)),
    ]
    words()
    with ProcessPoolExecutor() as pool:
        for future in [pool.submit(part, tree, random.Random(SEED + i), *how) for i, (part, how) in enumerate(parts)]:
            future.result()


def change(tree: Path, generation: int) -> None:
    """What an hour does to 1 %: of the small files most are rewritten, some are new and some go; logs grow by
    1 %; 1 % of the rows of each database change, in one range of keys and at its end; 1 % more documents."""
    chance = random.Random(SEED * 1000 + generation)
    small = sorted(file for file in (tree / "state").rglob("*") if file.is_file())
    chosen = chance.sample(small, max(3, len(small) // 100))
    gone, fresh, rewritten = chosen[: len(chosen) // 10], chosen[: len(chosen) // 10], chosen[len(chosen) // 10 :]
    for file in gone:
        if file != one_file(tree):
            file.unlink()
    for file in [*(old.with_name(f"new-{generation}-{old.name}") for old in fresh), *rewritten]:
        file.write_bytes(small_file(chance, file.suffix[1:]))
    for agent, file in enumerate(sorted((tree / "logs").iterdir())):
        with open(file, "ab") as stream:
            stream.write(log_lines(chance, agent, 86400 * generation, file.stat().st_size // 100))
    for file in sorted((tree / "data").glob("*.db")):
        with contextlib.closing(sqlite3.connect(file)) as database:
            (count,) = database.execute("select max(id) from facts").fetchone()
            changed, added = round(count * 0.008), round(count * 0.002)
            first = chance.randrange(1, count - changed)
            database.executemany(
                "update facts set fact = ?, vector = ? where id = ?",
                [(fact, vector, first + place) for fact, vector, place in rows(chance, changed)],
            )
            database.executemany("insert into facts (fact, vector, seen) values (?, ?, ?)", rows(chance, added))
            database.commit()
    documents = len(list((tree / "legal").iterdir()))
    _documents(tree, chance, 0, max(1, documents // 100), f"new-{generation}-")


def one_file(tree: Path) -> Path:
    """The file that is restored alone: neither first nor last in any order."""
    return small_path(tree, 77)
