#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_audit
short_description: Audit a fleet before it is changed
version_added: 1.0.0
description:
  - Reads the startup configs of a fleet, and the syntax trees of its project, and reports what would make a
    rollout fail, or make its result fail later.
  - Risk G, config drift, covers files that do not parse, keys that stand twice, entries that are no agents, and
    agents that are declared where no loader finds them.
  - Risk A, scripts, covers those that are missing, lie outside of the project, do not parse, or import what the
    project does not hold.
  - Risk C, ports, covers collisions, ports out of range, and numbers that hang on a variable.
  - Risk D, base class, covers agents that do not stand on the shared base class, also through other files.
  - Risk H, leaked credentials, covers passwords, tokens and keys that are written down in a startup config or in a
    file that an agent's process is made of. None of them is returned.
  - Risk B, dependencies, covers unknown ones, circles, and agents that therefore never start.
  - Nothing is imported, started or changed.
author:
  - fleetops.continuity developers (@fleetops)
requirements:
  - PyYAML
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  configs:
    description:
      - The name of each host in the fleet, with the path of its startup config on the machine where this module runs.
      - Give all hosts of the fleet, so that dependencies between them can be followed.
    type: dict
    required: true
  project:
    description:
      - The folder from which the agents run.
      - Without it only the startup configs are audited, and the risks A and D are left out.
    type: path
  values:
    description:
      - Values for expressions such as C(${PORT_OFFSET}+7100).
    type: dict
    default: {}
  baseline:
    description:
      - A YAML file of accepted findings. Each entry needs a reason and an expiry.
    type: path
  base_class:
    description:
      - The name of the class that every agent should stand on.
    type: str
    default: BaseAgent
  base_file:
    description:
      - The file that defines O(base_class), relative to O(project).
    type: str
    default: common/core/base_agent.py
  port_range:
    description:
      - The first and the last port that agents may use.
    type: list
    elements: int
    default: [5000, 9000]
  allowed_ports:
    description:
      - Ports outside of O(port_range) that are used on purpose.
    type: list
    elements: int
    default: []
  fail_on:
    description:
      - The least severity of a finding that makes the task fail, unless O(baseline) accepts the finding.
      - V(never) only reports. A fleet from which no agent can be read fails the task in any case.
    type: str
    choices: [critical, warning, info, never]
    default: critical
seealso:
  - module: fleetops.continuity.fleet_info
"""

EXAMPLES = r"""
- name: Stop a rollout unless the fleet is sound
  fleetops.continuity.fleet_audit:
    configs:
      mainpc: config/mainpc/startup_config.yaml
      pc2: config/pc2/startup_config.yaml
    project: /srv/project
    baseline: audit-baseline.yml
  delegate_to: localhost
  run_once: true

- name: Only look, with an offset that the launcher would set
  fleetops.continuity.fleet_audit:
    configs:
      mainpc: config/mainpc/startup_config.yaml
    values:
      PORT_OFFSET: "0"
    fail_on: never
  delegate_to: localhost
  register: audit

- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ audit.report }}"
"""

RETURN = r"""
findings:
  description: What the baseline does not accept, by risk (G, A, C, D, H, B), rule, host, file and line.
  returned: always
  type: list
  elements: dict
  contains:
    risk:
      description: The risk's letter.
      type: str
      sample: C
    rule:
      description: The rule. Its name never changes its meaning.
      type: str
      sample: C-collision
    severity:
      description: One of V(critical), V(warning), V(info).
      type: str
      sample: critical
    host:
      description: The host's name in the fleet.
      type: str
      sample: pc2
    agent:
      description: The agent; null where the finding concerns a host or several agents.
      type: str
      sample: TieredResponder
    file:
      description: The source, relative to O(project), or the config as it was given.
      type: str
      sample: config/pc2/startup_config.yaml
    line:
      description: The line, from 1.
      type: int
      sample: 57
    message:
      description: What is wrong, in one sentence.
      type: str
      sample: port 7150 is claimed by VisionProcessingAgent (port) and the host's error_bus_port
    evidence:
      description: The facts behind the message, depending on the rule.
      type: dict
      sample: {"port": 7150, "members": ["pc2:VisionProcessingAgent", "pc2:error_bus_port"]}
    fix:
      description: What to do about it.
      type: str
      sample: Give each of them a port of its own
summary:
  description: The number of findings for each risk and severity.
  returned: always
  type: dict
  sample: {"C": {"critical": 1, "warning": 4, "info": 1}}
fleet:
  description: How much was audited.
  returned: always
  type: dict
  sample: {"agents": 77, "waves": 7}
blocking:
  description: The number of findings that O(fail_on) does not let pass.
  returned: always
  type: int
  sample: 1
baseline:
  description: What the baseline made of the findings.
  returned: always
  type: dict
  contains:
    accepted:
      description: Findings that an entry accepts, with that entry.
      type: list
      elements: dict
    expired:
      description: Entries that accept nothing any more.
      type: list
      elements: dict
    unused:
      description: Entries that match no finding.
      type: list
      elements: dict
not_audited:
  description: Risks that were left out, and why.
  returned: always
  type: dict
  sample: {}
report:
  description: The same for people, line by line.
  returned: always
  type: list
  elements: str
  sample: ["77 agents in 7 waves: no findings"]
"""

from datetime import datetime, timezone
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.audit.audit import Settings
from ansible_collections.fleetops.continuity.plugins.module_utils.audit.baseline import Baseline, read_baseline
from ansible_collections.fleetops.continuity.plugins.module_utils.audit.inheritance import BaseClass
from ansible_collections.fleetops.continuity.plugins.module_utils.composition.auditing import audit_fleet
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.source_tree import SourceTree
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module


def execute(call: Call) -> dict[str, Any]:
    params = call.params
    if len(params["port_range"]) != 2:
        raise ContinuityError("port_range needs the first and the last port", fix="For example [5000, 9000]")
    first, last = params["port_range"]
    report = audit_fleet(
        load_fleet(
            [(str(host), str(path)) for host, path in params["configs"].items()],
            values={str(name): str(value) for name, value in params["values"].items()},
        ),
        SourceTree(params["project"]) if params["project"] else None,
        settings=Settings(
            BaseClass(params["base_class"], params["base_file"]), (first, last), frozenset(params["allowed_ports"])
        ),
        baseline=read_baseline(params["baseline"]) if params["baseline"] else Baseline(),
        today=datetime.fromtimestamp(call.clock.now(), timezone.utc).date(),
    )
    for entry in (*report.baseline.expired, *report.baseline.unused):
        call.warn(
            f"{entry.where} accepts nothing: {'expired' if entry in report.baseline.expired else 'no such finding'}"
        )
    blocking = report.blocking(params["fail_on"])
    result = {**report.document(), "blocking": len(blocking), "report": report.text().splitlines(), "changed": False}
    if report.unreadable or blocking:
        shown = "; ".join(f"{one.file}:{one.line} {one.rule}: {one.message}" for one in blocking[:3])
        number = "1 finding is" if len(blocking) == 1 else f"{len(blocking)} findings are"
        message = report.unreadable or f"{number} neither corrected nor accepted: {shown}"
        result.update(failed=True, msg=message)
    return result


def main() -> None:
    run_module(
        {
            "configs": {"type": "dict", "required": True},
            "project": {"type": "path"},
            "values": {"type": "dict", "default": {}},
            "baseline": {"type": "path"},
            "base_class": {"type": "str", "default": "BaseAgent"},
            "base_file": {"type": "str", "default": "common/core/base_agent.py"},
            "port_range": {"type": "list", "elements": "int", "default": [5000, 9000]},
            "allowed_ports": {"type": "list", "elements": "int", "default": []},
            "fail_on": {"type": "str", "choices": ["critical", "warning", "info", "never"], "default": "critical"},
        },
        execute,
    )


if __name__ == "__main__":
    main()
