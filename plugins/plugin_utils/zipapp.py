# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs the engine and its command line into continuity.pyz, the same bytes every time.

The collection's own paths are kept inside the archive, so that imports are the same with and
without Ansible. PyYAML travels along in its pure Python form, used only where the host has none.
On request, the bytecode of the commands that are used most stands beside their files: it halves the time
that they take to start with the Python that packed them, and any other one compiles the files.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import marshal
import re
import sys
import zipfile
from pathlib import Path

PLUGINS = Path(__file__).resolve().parent.parent
INSIDE = "ansible_collections/fleetops/continuity/plugins"
EPOCH = (1980, 1, 1, 0, 0, 0)
_OFTEN = re.compile(
    f"{INSIDE}/(?:module_utils/(?:(?:composition|repository|sources)/)?|plugin_utils/command_line/)[^/]+"
)

MAIN = """\
import os
import sys

if sys.version_info < (3, 9):
    sys.exit("continuity needs Python 3.9 or later; this is %d.%d" % sys.version_info[:2])
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "bundled"))

from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main

if __name__ == "__main__":
    sys.exit(main())
"""


def build(bytecode: bool = False) -> bytes:
    """The bytes of continuity.pyz (runs with any Python from 3.9 on).

    With ``bytecode``, and then compressed, packing takes ten times as long, which each host of a rollout would wait for.
    """
    files = {"__main__.py": MAIN.encode()}
    for part in ("module_utils", "plugin_utils/command_line"):
        for path in sorted((PLUGINS / part).rglob("*.py")):
            if path.name != "wiring.py":
                files[f"{INSIDE}/{path.relative_to(PLUGINS).as_posix()}"] = path.read_bytes()
    if bytecode and sys.version_info >= (3, 11):
        # Older ones write sets in an order that changes from run to run.
        files.update({f"{name}c": _bytecode(name, files[name]) for name in sorted(files) if _OFTEN.fullmatch(name)})
    files[f"{INSIDE}/plugin_utils/__init__.py"] = b""
    for package in ("ansible_collections", "ansible_collections/fleetops", "ansible_collections/fleetops/continuity"):
        files[f"{package}/__init__.py"] = b""
    files[f"{INSIDE}/__init__.py"] = b""
    files.setdefault(f"{INSIDE}/module_utils/__init__.py", b"")
    yaml = importlib.util.find_spec("yaml")
    if yaml is not None and yaml.origin is not None:
        for path in sorted(Path(yaml.origin).parent.glob("*.py")):
            files[f"bundled/yaml/{path.name}"] = path.read_bytes()
        for distribution in importlib.metadata.distributions(name="PyYAML"):
            for shipped in distribution.files or ():
                if shipped.name == "LICENSE":
                    files["bundled/yaml/LICENSE"] = Path(str(shipped.locate())).read_bytes()
    packed = io.BytesIO()
    packed.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(packed, "a") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED if bytecode else zipfile.ZIP_STORED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    return packed.getvalue()


def _bytecode(name: str, source: bytes) -> bytes:
    """A .pyc that is not compared with its source (PEP 552): the archive is made at once, and as a whole."""
    # Version 2 of the format has no references, which depend on what else this process has loaded.
    code = marshal.dumps(compile(source, name, "exec", dont_inherit=True, optimize=0), 2)
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source) + code
