# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/secrets.md shows works, and the codes that it lists are those that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import yaml
from reading import QuickClock

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.auth.methods import METHODS
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.faults import OUTAGES
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.model import declared
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.sources import opened

CHECKOUT = Path(__file__).resolve().parents[3]
ENGINE = CHECKOUT / "plugins/module_utils/secrets"
PAGE = (CHECKOUT / "docs/secrets.md").read_text()
READING = ["vault", "transport", "mounts", "held", "documents", "age_file", "sops", "sources", "model", "endpoint"]


def test_examples() -> None:
    found = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    runs = [example for example in found if "source" in example]
    assert {example["source"]["kind"] for example in runs} == {"age", "vault"}
    for example in runs:
        opened(example["source"], QuickClock()).close()
        assert len(declared(example["secrets"])) == len(example["secrets"])


def test_codes() -> None:
    table = PAGE[PAGE.index("| code |") : PAGE.index("While Vault is away")]
    listed = {
        code for row in table.splitlines()[2:] for code in re.findall(r"`(\w+)`", row.split("|")[1] if row else "")
    }
    used = set()
    for file in [*(ENGINE / f"{name}.py" for name in READING), *(ENGINE / "auth").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            is_error = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("SecretError", "Problem")
            if is_error and isinstance(node.args[0], ast.Constant):
                used.add(node.args[0].value)
    assert used == listed
    assert listed >= OUTAGES


def test_methods() -> None:
    named = PAGE[PAGE.index("| auth method |") :].split("\n", 1)[0]
    assert set(re.findall(r"`(\w+)`", named)) == set(METHODS)
