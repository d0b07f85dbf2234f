# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switching secrets is killed before each of its effects, and at random moments: files are wholly old or wholly new.

``CONTINUITY_ATTACKS`` says how many random kills, ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from memory_folder import memory_folder

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import secret_directory
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.model import Hidden
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.secret_directory import SecretDirectory
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.secret_files import SecretFile, plan

KILLS = int(os.environ.get("CONTINUITY_ATTACKS", "20"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
EFFECTS = (
    "chmod",
    "close",
    "fchmod",
    "fchown",
    "link",
    "mkdir",
    "open",
    "pwrite",
    "rename",
    "rmdir",
    "symlink",
    "unlink",
    "write",
)
COUNT = 12
SIZE = 20_000


def generation(number: int) -> dict[str, bytes]:
    """All secrets of one state: values of many pages, a name that stays as it is, and one that comes and goes."""
    values = {f"secret{index}": str(number % 10).encode() * SIZE for index in range(COUNT)}
    values["same"] = b"s" * SIZE
    values["even" if number % 2 == 0 else "odd"] = str(number % 10).encode() * SIZE
    return values


def switch(path: Path, number: int) -> bool:
    """One run; whether it changed anything."""
    me = os.geteuid(), os.getegid()
    files = [SecretFile(name, Hidden(value), *me, str(number)) for name, value in generation(number).items()]
    with SecretDirectory(str(path), SystemClock(), create=True) as directory, directory.locked():
        decided = plan(files, directory.found(), directory.key(), str(path))
        directory.apply(decided, directory.key())
    return decided.changed


def standing(path: Path) -> dict[str, bytes]:
    """What an agent finds by opening names; links that lead nowhere are names that are not there."""
    found = {}
    for name in (*generation(0), *generation(1)):
        try:
            with open(path / name, "rb") as file:
                found[name] = file.read()
        except FileNotFoundError:
            continue
    return found


def in_child(work: Callable[[], Any]) -> int:
    """Run it in a process that can be killed; its number."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def whole_after_a_kill(path: Path, number: int, what: str) -> None:
    found = standing(path)
    assert found in (generation(number), generation(number - 1)), f"{what}: {sorted(found)}"
    infos = [(path / name).stat() for name in found]
    assert {(stat.S_IMODE(info.st_mode), info.st_uid) for info in infos} == {(0o400, os.geteuid())}, what
    switch(path, number)
    assert standing(path) == generation(number), what
    assert not switch(path, number), f"{what}: a second run still changes something"
    ours = {"..data", "..key", os.readlink(path / "..data"), *generation(number)}
    assert set(os.listdir(path)) == ours, what


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(secret_directory, "GRACE_SECONDS", 0.0)
    with memory_folder() as folder:
        yield folder / "secrets"


def test_killed_before_each_effect(path: Path) -> None:
    """SIGKILL before the first, the second, … call that changes anything, until a run comes through."""
    switch(path, 1)
    number, survived, killed = 1, False, 0
    while not survived:
        number += 1
        _pid, status = os.waitpid(in_child(functools.partial(_switch_and_die, path, number, killed)), 0)
        survived = not os.WIFSIGNALED(status)
        assert survived or os.WTERMSIG(status) == signal.SIGKILL
        assert not survived or os.WEXITSTATUS(status) == 0
        whole_after_a_kill(path, number, f"killed before effect {killed}")
        killed += not survived
    assert killed > 6 * COUNT


def _switch_and_die(path: Path, number: int, after: int) -> None:
    left = [after]
    for name in EFFECTS:
        setattr(os, name, _mortal(getattr(os, name), left))
    switch(path, number)


def _mortal(real: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return real(*arguments, **options)

    return call


def test_killed_at_random_moments_while_somebody_reads(path: Path) -> None:
    chance = random.Random(SEED)
    switch(path, 1)
    began = time.monotonic()
    switch(path, 2)
    duration = time.monotonic() - began
    reader = in_child(lambda: _read_forever(path))
    killed = 0
    try:
        for number in range(3, 3 + KILLS):
            child = in_child(functools.partial(switch, path, number))
            time.sleep(chance.uniform(0, 1.5 * duration))
            os.kill(child, signal.SIGKILL)
            _pid, status = os.waitpid(child, 0)
            killed += os.WIFSIGNALED(status)
            whole_after_a_kill(path, number, f"ATTACK_SEED={SEED}, kill {number - 2}")
    finally:
        os.kill(reader, signal.SIGTERM)
        _pid, status = os.waitpid(reader, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM, (
        "the reader saw something that was not whole"
    )
    assert killed > KILLS // 4, f"ATTACK_SEED={SEED}: most runs were over before their kill"


def _read_forever(path: Path) -> NoReturn:
    """Ends with an error as soon as a value is not whole."""
    while True:
        for name, value in standing(path).items():
            assert len(value) == SIZE and len(set(value)) == 1, name
