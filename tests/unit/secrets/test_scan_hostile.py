# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that were made to stop a scan: it reads around them in bounded time, and says what it left out."""

from __future__ import annotations

import os
import random
import socket
import time
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import scanned_files
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scanning import scan, scan_text

SECONDS = 10
"""Far more than any of them needs, far less than anything that is not linear."""

FOUND = 'PASSWORD = "falcon0815"\n'
DEEP = 20_000

TEXTS = {
    "brackets.py": FOUND + "x = " + "(" * DEEP + ")" * DEEP,
    "lists.py": FOUND + "x = " + "[" * 300 + "]" * 300,
    "chain.py": FOUND + "x = (" + "1 +\n" * DEEP + "1)",
    "not.py": FOUND + "x = " + "not " * DEEP + "1",
    "minus.py": FOUND + "x = " + "-" * DEEP + "1",
    "calls.py": FOUND + "x = a" + ".b()" * DEEP,
    "attributes.py": FOUND + "x = a" + ".b" * DEEP,
    "subscripts.py": FOUND + "x = a" + "[0]" * DEEP,
    "ternary.py": FOUND + "x = " + "1 if a else " * DEEP + "1",
    "lambda.py": FOUND + "x = " + "lambda: " * DEEP + "1",
    "power.py": FOUND + "x = " + "1 ** " * DEEP + "1",
    "compare.py": FOUND + "x = " + "a == " * DEEP + "1",
    "elif.py": FOUND + "if a:\n  pass\n" + "elif b:\n  pass\n" * 20_000,
    "indent.py": FOUND + "".join(" " * n + "if a:\n" for n in range(200)),
    "strings.py": FOUND + "x = (" + "'a'\n" * DEEP + ")",
    "joined.py": FOUND + "token = (" + "'a' +\n" * DEEP + "'b')",
    "number.py": FOUND + "password = 0x" + "f" * 100_000,
    "decimal.py": FOUND + "password = " + "9" * 100_000,
    "nul.py": FOUND,
    "line.json": '{"password": "falcon0815", "x": "' + "a" * 1_000_000 + '"}',
    "pairs.json": "{" + '"token": "falcon-0815-orbit", ' * 10_000 + "}",
    "nested.json": '{"password": "falcon0815", "x": ' + "[" * DEEP,
    "names.env": "PASSWORD=falcon0815\n" + "token" * 200_000,
    "open.yaml": "password: falcon0815\n" + "${" * 200_000,
    "expressions.sh": "PASSWORD=falcon0815\n" + "${TOKEN:-" * 100_000,
    "quotes.js": 'const password = "falcon0815";\n' + "token = '" + "\\" * 500_000,
    "spaces.yaml": "password: falcon0815\ntoken:" + " " * 1_000_000 + "x",
    "deep.yaml": "password: falcon0815\n" + "".join(f"{' ' * n}tokens:\n" for n in range(2_000)),
    "at.txt": "password = falcon0815!\n" + "a://" * 200_000 + "@",
    "curl.sh": "PASSWORD=falcon0815\n" + "curl -u " * 30_000,
    "begin.txt": "password = falcon0815!\n" + "-----BEGIN " * 50_000 + "PRIVATE KEY-----",
    "jwt.txt": "password = falcon0815!\n" + "eyJ" + "a" * 200_000 + ".eyJ" * 20_000,
    "names.yaml": "password: falcon0815\n" + "token: Bearer =" * 20_000,
    "paths.env": "PASSWORD=falcon0815\n" + ("TOKEN=/" + "a" * 500 + "!\n") * 200,
    "change.py": FOUND + 'x = os.getenv("A_TOKEN", "change' + "in" * 900 + '!x")\n',
    "gaps.yaml": "password: falcon0815\n" + ("tokens:\n  - a" + " " * 1_900 + "x\n") * 50,
    "flags.sh": "PASSWORD=falcon0815\n" + "--token " * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_bounded_time_and_the_rest_is_found(name):
    start = time.process_time()
    found = scan_text(name, TEXTS[name])
    assert time.process_time() - start < SECONDS
    assert found and found[0].line == 1 and found[0].class_ == "live"


def test_random_bytes_as_every_kind_of_file():
    drawn = random.Random(7)
    pieces = [
        '"',
        "'",
        "\n",
        " ",
        "password",
        "token",
        "=",
        ":",
        "{",
        "[",
        "(",
        "${",
        "://",
        "@",
        "#",
        "\\",
        "f'",
        "-",
        "|",
    ]
    for suffix in ("py", "yaml", "json", "env", "sh", "js", "md", "txt", "ipynb", "conf"):
        for _round in range(40):
            scan_text(
                f"a.{suffix}", "".join(drawn.choices([*pieces, "x9", "\u0130", "\x0c", "\ufeff", "\u2028"], k=300))
            )


def test_encodings(tmp_path):
    (tmp_path / "utf16.env").write_bytes("PASSWORD=falcon0815\n".encode("utf-16"))
    (tmp_path / "bom.env").write_bytes(b"\xef\xbb\xbfPASSWORD=falcon0815\n")
    (tmp_path / "latin.env").write_bytes(b"NAME=caf\xe9\nPASSWORD=falcon0815\n")
    (tmp_path / "windows.env").write_bytes(b"A=b\r\nPASSWORD=falcon0815\r\nC=d\r\n")
    (tmp_path / "old_mac.env").write_bytes(b"A=b\rPASSWORD=falcon0815\r")
    (tmp_path / "cut.py").write_bytes(b'PASSWORD = "falcon0815"\nx = "\xff\xfe')
    (tmp_path / "turkish.env").write_text("\u0130\u0130\u0130\nPASSWORD=falcon0815\n")
    (tmp_path / "binary.env").write_bytes(b"PASSWORD=falcon0815\0\n")
    found = scan(str(tmp_path))
    assert {one.file: one.line for one in found.findings} == {
        "utf16.env": 1, "bom.env": 1, "latin.env": 2, "windows.env": 2, "old_mac.env": 2, "cut.py": 1, "turkish.env": 2,
    }  # fmt: skip


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.env")
    os.symlink(tmp_path, tmp_path / "loop")
    os.symlink("/etc", tmp_path / "elsewhere")
    os.symlink(tmp_path / "gone", tmp_path / "dangling.env")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(tmp_path)
        try:
            listening.bind("socket.env")
        finally:
            os.chdir(here)
        (tmp_path / "real.env").write_text("PASSWORD=falcon0815\n")
        found = scan(str(tmp_path))
    assert [one.file for one in found.findings] == ["real.env"] and found.files == 1 and found.unread == ()


def test_a_file_that_becomes_a_pipe_or_a_link_is_not_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe.env")
    assert scanned_files.read(str(tmp_path), "pipe.env") is None
    os.symlink("/etc/hostname", tmp_path / "link.env")
    unread = scanned_files.read(str(tmp_path), "link.env")
    assert isinstance(unread, scanned_files.Unread) and unread.file == "link.env"
    assert isinstance(scanned_files.read(str(tmp_path), "gone.env"), scanned_files.Unread)


def test_what_is_too_large_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(scanned_files, "LARGEST", 100_000)
    (tmp_path / "large.env").write_text("PASSWORD=falcon0815\n" + "x" * 100_000)
    found = scan(str(tmp_path))
    assert found.findings == () and [one.file for one in found.unread] == ["large.env"]


def test_names_that_cannot_be_shown(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.env")).write_text("PASSWORD=falcon0815\n")
    found = scan(str(tmp_path))
    assert len(found.findings) == 1 and found.findings[0].file.encode("utf-8").decode("utf-8").endswith("\n.env")


def test_a_root_that_is_none():
    with pytest.raises(ContinuityError, match="no such folder"):
        scan("/nonexistent/tree")
