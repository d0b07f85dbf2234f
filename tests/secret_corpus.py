# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees in which every written-down credential is known: what a secret scan is measured with.

A set is a text file of templates under ``fixtures/secret_scan``. ``=== path`` begins a file,
``«pw»`` stands for a value that is drawn anew each time, and a line that ends with a mark holds a
credential of that class. No mark: there is none. ``⟦L⟧?`` may be found or not.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable, Mapping

SETS = Path(__file__).parent / "fixtures" / "secret_scan"
CLASSES = {"L": "live", "D": "default", "S": "sample", "T": "test", "E": "encrypted"}
BLOCKING = ("live", "default")

_MARK = re.compile(r"\s*⟦(?P<mark>[LDSTE])⟧(?P<maybe>\??)\s*$")
_DRAWN = re.compile(r"«(?P<what>\w+)»")
_WORDS = ("falcon", "harbor", "copper", "meadow", "orbit", "lantern", "granite", "saffron", "tundra", "willow")
_WEAK = ("admin123", "postgres", "letmein", "root123", "passw0rd", "qwerty12", "guest", "redis123")


class Values:
    """Draws values; the same seed draws the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.drawn: list[str] = []
        text = string.ascii_letters + string.digits
        self._makers: Mapping[str, Callable[[], str]] = {
            "pw": lambda: self._random.choice(_WORDS) + self._of(string.ascii_lowercase, 4) + self._of(string.digits, 2),
            "weak": lambda: self._random.choice(_WEAK),
            "word": lambda: self._random.choice(_WORDS),
            "rand12": lambda: self._mixed(12),
            "rand24": lambda: self._mixed(24),
            "hex32": lambda: self._of("0123456789abcdef", 32),
            "hex64": lambda: self._of("0123456789abcdef", 64),
            "b64_44": lambda: base64.urlsafe_b64encode(self._random.randbytes(32)).decode(),
            "b64pw": lambda: base64.b64encode(f"{self._mixed(9)}".encode()).decode(),
            "basic": lambda: base64.b64encode(f"admin:{self._mixed(11)}".encode()).decode(),
            "hf": lambda: "hf_" + self._of(string.ascii_letters, 34),
            "sk": lambda: "sk-" + self._mixed(48),
            "skproj": lambda: "sk-proj-" + self._mixed(64),
            "anthropic": lambda: "sk-ant-api03-" + self._mixed(93),
            "ghp": lambda: "ghp_" + self._mixed(36),
            "glpat": lambda: "glpat-" + self._mixed(20),
            "aws": lambda: "AKIA" + self._of(string.ascii_uppercase + "234567", 16),
            "aws_secret": lambda: self._mixed(20) + "/" + self._mixed(19),
            "vault": lambda: "hvs." + self._mixed(32),
            "telegram": lambda: self._of("123456789", 10) + ":AA" + self._mixed(33),
            "slackhook": lambda: "/".join(("T" + self._of(text.upper(), 9), "B" + self._of(text.upper(), 9), self._mixed(24))),
            "slack": lambda: "xoxb-" + self._of(string.digits, 12) + "-" + self._mixed(24),
            "nats": lambda: "SUA" + self._of(string.ascii_uppercase + "234567", 55),
            "google": lambda: "AIza" + self._mixed(35),
            "jwt": self._jwt,
            "pem": lambda: "MIIE" + self._mixed(60),
        }  # fmt: skip

    def of(self, what: str) -> str:
        value = self._makers[what]()
        self.drawn.append(value)
        return value

    def _of(self, characters: str, length: int) -> str:
        return "".join(self._random.choices(characters, k=length))

    def _mixed(self, length: int) -> str:
        """With a capital, a small letter and a digit among them."""
        rest = self._of(string.ascii_letters + string.digits, length - 3)
        parts = [self._of(kind, 1) for kind in (string.ascii_uppercase, string.ascii_lowercase, string.digits)]
        return "".join(self._random.sample([*parts, *rest], length))

    def _jwt(self) -> str:
        def part(content: object) -> str:
            return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

        head = part({"alg": "HS256", "typ": "JWT"})
        return f"{head}.{part({'sub': self._mixed(8), 'exp': 1999999999})}.{self._mixed(43)}"


@dataclass
class Corpus:
    """``files`` by path; ``truth`` maps (path, line) to the class; ``maybe`` are places that do not count."""

    files: dict[str, str] = field(default_factory=dict)
    truth: dict[tuple[str, int], str] = field(default_factory=dict)
    maybe: set[tuple[str, int]] = field(default_factory=set)
    values: list[str] = field(default_factory=list)

    def write(self, root: Path) -> Path:
        for path, text in self.files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return root


def corpus(name: str, seed: int = 1) -> Corpus:
    """The set ``development`` or ``held_out`` with values of this seed."""
    made = Corpus()
    values = Values(seed)
    for part in re.split(r"^=== ", (SETS / f"{name}.txt").read_text(), flags=re.MULTILINE)[1:]:
        path, _end, body = part.partition("\n")
        lines = []
        for number, line in enumerate(body.split("\n"), 1):
            mark = _MARK.search(line)
            if mark:
                line = line[: mark.start()]
                if mark["maybe"]:
                    made.maybe.add((path, number))
                else:
                    made.truth[path, number] = CLASSES[mark["mark"]]
            lines.append(_DRAWN.sub(lambda found: values.of(found["what"]), line))
        made.files[path] = "\n".join(lines)
    made.values = values.drawn
    return made


@dataclass(frozen=True)
class Score:
    """Of places (file and line) that are live or default. ``missed`` and ``wrong`` name them;
    ``other_class`` are those found as the other of the two."""

    true: int
    missed: list[tuple[str, int]]
    wrong: list[tuple[str, int]]
    other_class: list[tuple[str, int]]

    @property
    def recall(self) -> float:
        return self.true / (self.true + len(self.missed))

    @property
    def precision(self) -> float:
        return self.true / (self.true + len(self.wrong))


def score(made: Corpus, found: Iterable[tuple[str, int, str]]) -> Score:
    """``found`` are file, line and class."""
    places = {(file, line): class_ for file, line, class_ in found if class_ in BLOCKING}
    wanted = {place: class_ for place, class_ in made.truth.items() if class_ in BLOCKING}
    return Score(
        len(set(wanted) & set(places)),
        sorted(set(wanted) - set(places)),
        sorted(set(places) - set(wanted) - made.maybe),
        sorted(place for place, class_ in wanted.items() if places.get(place, class_) != class_),
    )
