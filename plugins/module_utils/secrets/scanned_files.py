# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a tree that a scan reads: which, how they are written, and their text within bounds."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional, Union

from ..errors import ContinuityError
from .credential_names import words
from .text_lines import ENVIRONMENT, JSON, PROGRAM, SHELL, TEXT, YAML

PYTHON = "python"

LARGEST = 32 * 1024 * 1024
"""Bytes of one file; a larger one is named and not read."""

_START, _PIECE = 8 * 1024, 1024 * 1024

NOT_OURS = words(
    ".git .hg .svn node_modules site-packages dist-packages __pycache__ .tox .nox .mypy_cache .pytest_cache .ruff_cache .eggs"
)
"""Folders that hold no text of the project. An environment of Python is left out too, whatever it is called."""

_GENERATED = re.compile(
    r"^(?:package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.ya?ml|poetry\.lock|Pipfile\.lock|Cargo\.lock|uv\.lock|go\.sum"
    r"|(?:vocab|tokenizer|added_tokens|special_tokens_map|tokenizer_config|merges)(?:[._-].*)?\.(?:json|txt)|.*\.min\.(?:js|css)|.*\.(?:map|svg|pub))$"
)

_STYLES: Mapping[str, str] = {
    **dict.fromkeys(words("py pyw pyi pyx"), PYTHON),
    **dict.fromkeys(words("yaml yml j2 jinja jinja2"), YAML),
    **dict.fromkeys(words("json jsonl json5 jsonc har tfstate"), JSON),
    **dict.fromkeys(
        words(
            "env ini cfg conf config properties service timer socket toml envrc netrc pgpass npmrc pypirc credentials cnf rc"
        ),
        ENVIRONMENT,
    ),
    **dict.fromkeys(words("sh bash zsh ksh fish bat cmd ps1 psm1 dockerfile containerfile mk"), SHELL),
    **dict.fromkeys(
        words(
            "js jsx mjs cjs ts tsx go java kt kts rb php pl lua rs c h cc cpp hpp cs swift scala groovy gradle "
            "tf tfvars hcl sql xml html htm proto vue ipynb r nix"
        ),
        PROGRAM,
    ),
}
_TEMPLATES = words("j2 jinja jinja2")
_NAMES = re.compile(
    r"(?P<shell>^(?:Docker|Container|Make|Just|Jenkins|Vagrant|Proc)file\b)|(?P<environment>^\.env\b|\.env\b|^\.?(?:netrc|pgpass|envrc|npmrc|pypirc)$)"
)
_KEPT_COPY = re.compile(
    r"(?:[._-](?:bak|backup|old|orig|original|save|saved|copy|disabled|rej|prev|previous|before|broken)\d*(?:[._-][\w-]*)*|~|\.\d{8,14}|\.swp)$",
    re.IGNORECASE,
)
_DOCUMENT = re.compile(r"\.(?:md|mdx|markdown|rst|adoc|textile|org|tex)$", re.IGNORECASE)
_SAMPLE_FILE = re.compile(
    r"[._-](?:example|sample|template|tmpl|tpl|dist|defaults?\.example)(?:\.|$)|^(?:examples?|samples?|templates?)[._-]",
    re.IGNORECASE,
)
_SAMPLE_FOLDERS = frozenset({"examples", "example", "samples", "sample"})
_TEST_FOLDERS = frozenset(
    {
        "test",
        "tests",
        "testing",
        "testdata",
        "test_data",
        "fixtures",
        "__tests__",
        "spec",
        "specs",
        "mocks",
        "__mocks__",
        "e2e",
        "unittests",
        "molecule",
    }
)
_TEST_FILE = re.compile(r"^(?:tests?[_-].*|conftest|.*[_-]tests?|.*\.(?:test|spec))\.\w+$|^test\w*\.py$", re.IGNORECASE)


@dataclass(frozen=True)
class ScannedFile:
    """``path`` is relative to the root, with slashes; ``style`` how values are written in it."""

    path: str
    style: str
    document: bool = False
    sample: bool = False
    test_file: bool = False
    test_folder: bool = False


@dataclass(frozen=True)
class Unread:
    """A file that could not be read, or not to its end, and why."""

    file: str
    reason: str

    def document(self) -> dict[str, str]:
        return {"file": self.file, "reason": self.reason}


def described(path: str, first: str = "") -> ScannedFile:
    """By its path, and by its first line where the name says nothing."""
    *folders, name = path.split("/")
    plain = _KEPT_COPY.sub("", name)
    while plain and plain != name:
        name, plain = plain, _KEPT_COPY.sub("", plain)
    lower = [folder.lower() for folder in folders]
    return ScannedFile(
        path,
        _style(name, first),
        document=bool(_DOCUMENT.search(name)),
        sample=bool(_SAMPLE_FILE.search(name)) or bool(_SAMPLE_FOLDERS & set(lower)),
        test_file=bool(_TEST_FILE.match(name)),
        test_folder=bool(_TEST_FOLDERS & set(lower)),
    )


def _style(name: str, first: str) -> str:
    named = _NAMES.search(name)
    if named:
        return SHELL if named["shell"] else ENVIRONMENT
    suffixes = [suffix.lower() for suffix in re.split(r"[._-](?:example|sample|dist)$", name)[0].split(".")[1:]]
    known = [suffix for suffix in suffixes if suffix in _STYLES and suffix not in _TEMPLATES]
    style = TEXT if _DOCUMENT.search(name) else _STYLES.get(known[-1] if known else (suffixes or [""])[-1])
    if style is None and first.startswith("#!"):
        style = PYTHON if "python" in first else SHELL if "sh" in first else None
    return style or TEXT


def files(root: str, unread: list[Unread]) -> Iterator[tuple[str, int]]:
    """Path below the root and size of every file worth reading, in a stable order. Links are not
    followed: what they lead to is read where it lies, or is not of this tree."""
    if not os.path.isdir(root):
        raise ContinuityError("There is no such folder to scan", where=root, fix="Give the root of the tree")
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            unread.append(Unread(_shown(folder) or ".", f"cannot be listed: {error.strerror}"))
            continue
        if any(entry.name == "pyvenv.cfg" for entry in entries):
            continue
        below = []
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in NOT_OURS:
                        below.append(path)
                elif entry.is_file(follow_symlinks=False) and not _GENERATED.match(entry.name):
                    yield path, entry.stat(follow_symlinks=False).st_size
            except OSError as error:
                unread.append(Unread(_shown(path), f"cannot be examined: {error.strerror}"))
        waiting += reversed(below)


def read(root: str, path: str) -> Union[str, Unread, None]:
    """The text of a file, None for a binary one and for what is no file, or why it cannot be read."""
    try:
        descriptor = os.open(os.path.join(root, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            content, encoding = _content(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return Unread(_shown(path), f"cannot be read: {error.strerror}")
    if encoding is None:
        return None
    if len(content) > LARGEST:
        return Unread(_shown(path), f"is larger than {LARGEST // 1024 // 1024} MiB")
    text = content.decode(encoding, "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _content(descriptor: int) -> tuple[bytes, Optional[str]]:
    """At most one byte more than ``LARGEST``, and the encoding, which is None for what is not to be read."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return b"", None
    pieces = [os.read(descriptor, _START)]
    encoding = _encoding(pieces[0])
    size = len(pieces[0])
    while encoding and pieces[-1] and size <= LARGEST:
        pieces.append(os.read(descriptor, min(_PIECE, LARGEST + 1 - size)))
        size += len(pieces[-1])
    return b"".join(pieces), encoding


def _encoding(start: bytes) -> Optional[str]:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return None if b"\0" in start else "utf-8-sig"


def _shown(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
