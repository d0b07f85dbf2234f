# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""``continuity.pyz audit``: the audit without Ansible."""

from __future__ import annotations

import argparse
import io
import json
import sys
from datetime import datetime, timezone
from typing import Sequence

from ansible_collections.fleetops.continuity.plugins.module_utils.audit.audit import Settings
from ansible_collections.fleetops.continuity.plugins.module_utils.audit.baseline import Baseline, read_baseline
from ansible_collections.fleetops.continuity.plugins.module_utils.audit.inheritance import BaseClass
from ansible_collections.fleetops.continuity.plugins.module_utils.composition.auditing import audit_fleet
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.source_file import collector_paused
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.source_tree import SourceTree
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet

HELP = "audit a fleet's startup configs and project (exit status 0: clean, 1: findings, 2: could not audit)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", action="append", required=True, metavar="HOST=FILE", help="a host's startup config; once per host"
    )
    parser.add_argument("--root", metavar="DIR", help="project root; without it risks A and D are left out")
    parser.add_argument(
        "--value", action="append", default=[], metavar="NAME=VALUE", help="value of a ${NAME} in the configs"
    )
    parser.add_argument("--baseline", metavar="FILE", help="accepted findings")
    parser.add_argument("--base-class", default="BaseAgent", metavar="NAME", help="shared base class of the agents")
    parser.add_argument(
        "--base-file", default="common/core/base_agent.py", metavar="FILE", help="where it is defined, below the root"
    )
    parser.add_argument("--port-range", default="5000-9000", metavar="FIRST-LAST")
    parser.add_argument("--allow-port", action="append", default=[], type=int, metavar="PORT")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    settings = Settings(
        BaseClass(arguments.base_class, arguments.base_file),
        _port_range(arguments.port_range),
        frozenset(arguments.allow_port),
    )
    with collector_paused():  # to the end: what goes with the process need not be searched for garbage
        return _report(arguments, settings)


def _report(arguments: argparse.Namespace, settings: Settings) -> int:
    report = audit_fleet(
        load_fleet(
            _pairs(arguments.config, "--config", "HOST=FILE", "mainpc=config.yaml"),
            values=dict(_pairs(arguments.value, "--value", "NAME=VALUE", "PORT_OFFSET=0")),
        ),
        SourceTree(arguments.root) if arguments.root is not None else None,
        settings=settings,
        baseline=read_baseline(arguments.baseline) if arguments.baseline else Baseline(),
        today=datetime.now(timezone.utc).date(),
    )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a name shows its code
    print(json.dumps(report.document(), indent=2) if arguments.format == "json" else report.text())
    if report.unreadable:
        return 2
    return 1 if report.findings else 0


def _pairs(given: Sequence[str], option: str, form: str, example: str) -> list[tuple[str, str]]:
    pairs = []
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals or (not value and form.endswith("FILE")):
            raise ContinuityError(f"{option} {text!r} is no {form}", fix=f"For example {option} {example}")
        pairs.append((name, value))
    return pairs


def _port_range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not (dash and first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise ContinuityError(f"--port-range {text!r} is no range", fix="For example --port-range 5000-9000")
    return int(first), int(last)
