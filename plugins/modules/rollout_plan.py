#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_plan
short_description: Plan a rollout over all hosts, or find the one to resume
version_added: 1.0.0
description:
  - Decides which agents a rollout touches and why, and cuts them into waves. The same input always gives the
    same plan and the same hash.
  - Finds a rollout that was interrupted. The same request is resumed with the plan that it began with, anything
    else is refused with what can be done.
  - Writes nothing. Run it once, on a host that has an unfinished rollout if there is one.
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The plan as text, with every wave, agent and reason.
  idempotent:
    support: full
    details:
      - RV(run) is a new name at each call.
options:
  root:
    description:
      - The host root on the host where this runs, for the plan of an unfinished rollout.
    type: path
    required: true
  hosts:
    description:
      - For each host of the rollout, by its name in the fleet, the result of its M(fleetops.continuity.release) task.
    type: dict
    required: true
  waves:
    description:
      - Sizes of the waves. Numbers are agents, percentages are of all touched agents, the last one repeats.
    type: list
    elements: str
    default: ["1", "5", "25%", "100%"]
  max_unavailable:
    description:
      - How many agents may be away at once over all hosts, as a number or as a percentage of all agents.
    type: str
    default: "10%"
  redundant_pairs:
    description:
      - Groups of agents, each named C(host:Name), of which never two are in one wave.
    type: list
    elements: list
    default: []
  host_order:
    description:
      - Which hosts come first. Hosts that are not named follow, the one with the fewest agents first.
    type: list
    elements: str
    default: []
  follow:
    description:
      - Globs of C(host:Name). Such an agent is replaced whenever an agent that it depends on is new or changed.
    type: list
    elements: str
    default: []
  parallel:
    description:
      - How many agents one host replaces at a time, at most.
    type: int
    default: 8
  bake_seconds:
    description:
      - How long each wave is watched before its gate.
    type: float
    default: 30.0
  deadman_seconds:
    description:
      - After how many seconds without news, on top of the bake time, a host goes back by itself.
    type: float
    default: 180.0
seealso:
  - module: fleetops.continuity.release
  - module: fleetops.continuity.rollout_wave
"""

EXAMPLES = r"""
- name: Plan the rollout of what was staged
  fleetops.continuity.rollout_plan:
    root: /srv/fleet
    hosts:
      mainpc: "{{ hostvars['mainpc']['staged'] }}"
      pc2: "{{ hostvars['pc2']['staged'] }}"
    host_order: [pc2, mainpc]
  register: rollout
  run_once: true
"""

RETURN = r"""
action:
  description: V(begin) a rollout, V(resume) an unfinished one, or V(nothing) is to be done.
  returned: success
  type: str
  sample: begin
why:
  description: The same as a sentence.
  returned: success
  type: str
  sample: 77 agents in 4 waves to release r-5f0c1d2e3a4b
run:
  description: A new name for this run.
  returned: success
  type: str
  sample: 20260131T101500Z-3fa9c1
plan:
  description: The plan, as the other modules take it.
  returned: success
  type: dict
  sample: {"format": 1, "release": "r-5f0c1d2e3a4b"}
waves:
  description: The numbers of the waves, in order.
  returned: success
  type: list
  elements: int
  sample: [1, 2, 3, 4]
text:
  description: The plan as lines of text.
  returned: success
  type: list
  elements: str
  sample: ["release r-5f0c1d2e3a4b, plan 9b1c2d3e4f50"]
unfinished:
  description: How far each host with an unfinished rollout is.
  returned: success
  type: dict
  sample: {"pc2": "r-5f0c1d2e3a4b (run 20260131T101500Z-3fa9c1, activated)"}
"""

import secrets
import time
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.ledger import Ledger
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan import Options
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan_document import render, to_document
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.request import NOTHING, decide
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

OPTIONS = ("waves", "max_unavailable", "redundant_pairs", "host_order", "follow", "parallel")


def execute(call: Call) -> dict[str, Any]:
    params = call.params
    options = Options(
        **{name: params[name] for name in OPTIONS},
        bake_seconds=params["bake_seconds"],
        deadman_seconds=params["deadman_seconds"],
    )
    ledger = Ledger(params["root"], "", call.clock)
    decision = decide(params["hosts"], options, ledger.load_plan)
    text = render(decision.plan)
    result = {
        "changed": False,
        "action": decision.action,
        "why": decision.why,
        "run": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(call.clock.now())) + f"-{secrets.token_hex(3)}",
        "plan": to_document(decision.plan),
        "waves": [wave.number for wave in decision.plan.waves],
        "text": text.splitlines(),
        "unfinished": dict(decision.unfinished),
    }
    if call.diff_mode and decision.action != NOTHING:
        result["diff"] = {"before": "", "after": text, "before_header": "now", "after_header": decision.why}
    return result


def main() -> None:
    run_module(
        {
            "root": {"type": "path", "required": True},
            "hosts": {"type": "dict", "required": True},
            "waves": {"type": "list", "elements": "str", "default": ["1", "5", "25%", "100%"]},
            "max_unavailable": {"type": "str", "default": "10%"},
            "redundant_pairs": {"type": "list", "elements": "list", "default": []},
            "host_order": {"type": "list", "elements": "str", "default": []},
            "follow": {"type": "list", "elements": "str", "default": []},
            "parallel": {"type": "int", "default": 8},
            "bake_seconds": {"type": "float", "default": 30.0},
            "deadman_seconds": {"type": "float", "default": 180.0},
        },
        execute,
    )


if __name__ == "__main__":
    main()
