# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a moved value is called: from where it stands, the same in every run."""

from __future__ import annotations

import os
import re
from typing import Hashable, Mapping, NamedTuple, Sequence, TypeVar

from .credential_names import words
from .placeholders import NAME

LONGEST = 64

_STRUCTURE = words(
    "agent_groups agents annotations args auth build config configuration credentials data default defaults deploy env "
    "env_vars environment global global_settings items options parameters params properties root secrets services "
    "settings spec string_data value values variables vars"
)
"""Keys that say how a file is built, and nothing about a value."""

_GROUPED = "agent_groups"
"""The key below this one names a group; what counts is the agent below it."""

_NAMELESS = "SECRET"
_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_Place = TypeVar("_Place", bound=Hashable)


class Wish(NamedTuple):
    """``variable`` is the name that a place has by itself, if it has one; ``must`` that no other will do. ``labels``
    are the keys that lead to it, ``file`` is where they stand."""

    file: str
    labels: tuple[str, ...]
    variable: str = ""
    must: bool = False


def named(wishes: Mapping[_Place, Wish], same: Mapping[_Place, Hashable], taken: frozenset[str]) -> dict[_Place, str]:
    """A name for each place, in their order. Places with the same name share it when they are the ``same``; names that
    are ``taken`` are given to nobody. A place that must have a name and cannot is left out."""
    levels = dict.fromkeys(wishes, 0)
    while True:
        wanted: dict[str, set[Hashable]] = {}
        for place, wish in wishes.items():
            wanted.setdefault(_LEVELS[levels[place]](wish), set()).add(same[place])
        contested = {name for name, values in wanted.items() if len(values) > 1 or name in taken}
        again = [
            place
            for place, wish in wishes.items()
            if not wish.must and levels[place] + 1 < len(_LEVELS) and _LEVELS[levels[place]](wish) in contested
        ]
        if not again:
            break
        levels.update({place: levels[place] + 1 for place in again})
    musts: dict[str, set[Hashable]] = {}
    for place, wish in wishes.items():
        if wish.must:
            musts.setdefault(short(wish), set()).add(same[place])
    names: dict[_Place, str] = {}
    given: dict[str, Hashable] = {}
    for place, wish in sorted(wishes.items(), key=lambda item: not item[1].must):
        name = _LEVELS[levels[place]](wish)
        if not wish.must:
            name = _free(name, same[place], given, taken)
        elif len(musts[name]) > 1:
            continue
        names[place], given[name] = name, same[place]
    return names


def short(wish: Wish) -> str:
    """The name that a place gets unless another one wants it for another value."""
    return wish.variable if NAME.fullmatch(wish.variable) else by_keys(wish)


def by_keys(wish: Wish) -> str:
    telling = _telling(wish.labels)
    if len(telling) == 1 and "_" not in telling[0]:
        telling = [_stem(wish.file), *telling]
    return _joined(telling) or _NAMELESS


def long(wish: Wish) -> str:
    return _joined([_stem(wish.file), *map(_upper, wish.labels)]) or _NAMELESS


_LEVELS = (short, by_keys, long)


def _free(name: str, same: Hashable, given: Mapping[str, Hashable], taken: frozenset[str]) -> str:
    number, candidate = 1, name
    while candidate in taken or given.get(candidate, same) != same:
        number += 1
        candidate = f"{name[: LONGEST - 1 - len(str(number))]}_{number}"
    return candidate


def _telling(labels: Sequence[str]) -> list[str]:
    """The labels that say something about a value."""
    if _GROUPED in labels:
        labels = labels[labels.index(_GROUPED) + 2 :]
    said = [_upper(label) for label in labels]
    return [*(word for word in said[:-1] if word.lower() not in _STRUCTURE), *said[-1:]]


def _upper(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", _BOUNDARY.sub("_", label)).strip("_").upper()


def _stem(file: str) -> str:
    """The file's name, or its folder's where that says nothing."""
    folder, name = os.path.split(file)
    stem = name.split(".")[0] or name.strip(".")
    telling = stem.lower() not in ("config", "settings", "values", "main", "secrets", "vars", "all")
    return _upper(stem if telling or not folder else f"{os.path.basename(folder)}_{stem}")


def _joined(said: Sequence[str]) -> str:
    """At most so long as a name may be; what stands last counts most."""
    parts = [word for word in said if word]
    while len(parts) > 1 and len("_".join(parts)) > LONGEST:
        parts = parts[1:]
    name = "_".join(parts)[-LONGEST:].lstrip("_0123456789")
    return name if NAME.fullmatch(name) else ""
