# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines of a text can hold a credential at all: most hold none, and are not looked at again.

Found by plain searches for words and for beginnings of tokens, which is several times as fast as one
regular expression of all of them.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Callable, Iterator, Mapping, Optional

from .credential_names import KEYS_OF
from .provider_tokens import BEGINNINGS

_Check = Optional[Callable[[str, int], bool]]


def _credential_key(text: str, place: int) -> bool:
    """``api_key`` and ``apikey``, not ``cache_key``."""
    before = text[max(0, place - 24) : place].rstrip("_- ")
    return any(before.endswith(word) for word in _ENDINGS.get(before[-1:], ()))


def _more_than_a_statement(text: str, place: int) -> bool:
    """Not the ``pass`` of Python, and not ``passed``."""
    return text[place + 4 : place + 5] not in _AFTER_PASS


def _no_tokenizer(text: str, place: int) -> bool:
    return text[place + 5 : place + 7] not in ("iz", "is")


def _has_account(text: str, place: int) -> bool:
    at = text.find("@", place + 3, place + 300)
    return at > 0 and not any(character in text[place:at] for character in " \n\t")


_ENDINGS: dict[str, tuple[str, ...]] = {}
for _word in KEYS_OF:
    _ENDINGS[_word[-1]] = (*_ENDINGS.get(_word[-1], ()), _word)

_AFTER_PASS = frozenset("\neith")

_WORDS: Mapping[str, _Check] = {
    "pass": _more_than_a_statement,
    "secret": None,
    "token": _no_tokenizer,
    "key": _credential_key,
    "pwd": None,
    "pw": None,
    "credential": None,
    "creds": None,
    "jwt": None,
    "authorization": None,
    "bearer": None,
    "masterauth": None,
    "identified ": None,
    "://": _has_account,
    "auth=": None,
    "auth =": None,
    "basicauth": None,
    "login": None,
    "fernet(": None,
    "aesgcm(": None,
    "hmac.": None,
    "curl ": None,
    "redis-cli": None,
    "mysql": None,
    "chpasswd": None,
    "sudo -s": None,
    "jdbc:": None,
    "-----begin": None,
    "enc[": None,
    "!vault": None,
}


def telling_lines(text: str) -> list[int]:
    """Their numbers, from 1, in order."""
    places = sorted({*_places(text)})
    if not places:
        return []
    ends = list(accumulate(len(line) + 1 for line in text.split("\n")))
    numbers: list[int] = []
    for place in places:
        number = bisect_right(ends, place) + 1
        if not numbers or numbers[-1] != number:
            numbers.append(number)
    return numbers


def is_telling(text: str) -> bool:
    return next(_places(text), None) is not None


def _places(text: str) -> Iterator[int]:
    lower = text.lower()
    if len(lower) != len(text):  # one capital letter has two in lower case
        lower = text.replace("\u0130", "I").lower()
    for word, check in _WORDS.items():
        place = lower.find(word)
        while place >= 0:
            if check is None or check(lower, place):
                yield place
                # the rest of this line has nothing to add
                place = lower.find("\n", place)
                if place < 0:
                    break
            place = lower.find(word, place + 1)
    for beginning in BEGINNINGS:
        place = text.find(beginning)
        while place >= 0:
            yield place
            place = text.find(beginning, place + 1)
