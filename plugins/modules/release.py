#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stages a release on a host and says how the host stands to it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Stage a release of code, config and units on a host
version_added: 1.0.0
author:
  - fleetops.continuity developers (@fleetops)
description:
  - Makes a host's release out of a project and a startup config on the controller, and stages it on the host, complete
    and verified, or not at all. Nothing that runs is touched, no link moves.
  - Also makes the folder O(root) a host root where it is none, starts the rootless supervisor where it does not run, and
    leaves the engine there as C(continuity.pyz), so that the host can take a release back without a controller.
  - Says how the host stands to the release. A host that is RV(converged) needs no other task.
  - How a release is made is described in C(docs/releases.md).
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  root:
    description: The folder on the host that holds everything of the collection.
    type: path
    required: true
  host:
    description: The host's name in the fleet.
    type: str
    required: true
  project:
    description:
      - The folder on the controller that holds the agents' code.
      - Required, unless O(resume=true) finds an unfinished rollout.
    type: path
  startup_config:
    description:
      - The host's startup config, a file on the controller.
      - Required, unless O(resume=true) finds an unfinished rollout.
    type: path
  release:
    description:
      - The release's id. Ids are immutable, another content needs another one.
      - The default is V(r-) and 12 hexadecimal digits made from the project and the startup configs of all hosts of the
        inventory whose C(continuity_project) is this project, so that it is the same on all of them.
    type: str
  state:
    description: The release is there, complete.
    type: str
    choices: [staged]
    default: staged
  supervisor:
    description:
      - What runs the agents, as C(kind) (V(systemd) or V(supervisord)) and the settings of that kind.
    type: dict
    required: true
  python:
    description: The interpreter on the host that runs agents and C(continuity.pyz).
    type: str
    default: /usr/bin/python3
  address:
    description: The address on which agents listen. By default it is what each agent's entry says, else C(127.0.0.1).
    type: str
  agent_rules:
    description:
      - What a startup config does not say of its agents. For each key, the first rule that matches and has it, wins.
    type: list
    elements: dict
    default: []
    suboptions:
      match:
        description: Globs of C(host:Agent).
        type: list
        elements: str
        required: true
      socket:
        description:
          - Whether the supervisor binds the agent's C(port) and hands it over, or a list of the ports that it binds, such as
            C([port, health_check_port]). The agent drains on SIGTERM.
        type: raw
      overlap:
        description:
          - Whether the old and the new instance may run side by side while one hands over to the other. All ports of the
            agent are then in O(agent_rules[].socket).
        type: bool
      probe:
        description:
          - How the agent is asked for its health, as C(kind) (V(http), V(zmq), V(tcp), V(command), V(file_age)) and what
            that needs of C(port) (a number, V(port), V(health_check_port), or one of these and C(+1)), C(path),
            C(request), C(argv), C(max_age), C(timeout).
        type: dict
      user:
        description: The user that the agent runs as.
        type: str
      stop_seconds:
        description: How long the agent may drain before it is killed.
        type: float
      credentials:
        description: A mapping of credential names to files on the host that hold them.
        type: dict
  values:
    description: Values for expressions such as C(${PORT_OFFSET}+7100) in the startup config.
    type: dict
    default: {}
  resume:
    description: Take the release of the host's unfinished rollout as it is staged, where there is one.
    type: bool
    default: false
  transfer:
    description: Filled by the action part of this module with digests and the places of transferred files. Leave it out.
    type: dict
    default: {}
seealso:
  - module: fleetops.continuity.rollout_info
"""

EXAMPLES = r"""
- name: Stage what the inventory says, on all hosts at once
  fleetops.continuity.release:
    root: /srv/fleet
    host: "{{ continuity_host }}"
    project: "{{ continuity_project }}"
    startup_config: "{{ continuity_startup_config }}"
    supervisor:
      kind: systemd
    agent_rules:
      - match: ["*:*Gateway"]
        socket: true
        probe: {kind: http, port: port}
      - match: ["*"]
        probe: {kind: zmq, port: health_check_port}
  register: staged

- name: Stage a named release under a user's own supervisor
  fleetops.continuity.release:
    root: /home/fleet/root
    host: PC2
    project: /home/fleet/project
    startup_config: /home/fleet/project/config/pc2.yaml
    release: "2026.11"
    python: /home/fleet/venv/bin/python
    supervisor:
      kind: supervisord
"""

RETURN = r"""
release:
  description: The release, as a plan needs it.
  returned: success
  type: dict
  contains:
    id:
      description: Its id.
      type: str
    digest:
      description: SHA-256 over its description, and so over every file of it.
      type: str
    agents:
      description: Every agent, with C(fingerprint), C(layer), C(brief_interruption), C(required) and C(dependencies).
      type: dict
  sample:
    id: r-77e1ecbeb4a6
    digest: 4329784b44b517928d0464f743dba2d20027ba145ebbe8febe7d42eba00117f9
    agents:
      CacheManager:
        fingerprint: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        layer: 1
        brief_interruption: false
        required: true
        dependencies: ["PC2:MemoryOrchestratorService"]
host_state:
  description: What the host runs, by its ledger, its links, its supervisor and its agents' answers.
  returned: success
  type: dict
  contains:
    current:
      description: The release that is current, none before the first rollout.
      type: str
    previous:
      description: The release that a rollback goes to.
      type: str
    quarantined:
      description: Releases that were taken back.
      type: list
      elements: str
    unfinished:
      description: The rollout that was neither confirmed nor taken back.
      type: dict
    agents:
      description: Every agent, with C(release) and C(fingerprint) that its link leads to, C(process) and C(status).
      type: dict
  sample:
    current: r-77e1ecbeb4a6
    previous: r-0a1b2c3d4e5f
    quarantined: []
    unfinished: null
    agents:
      CacheManager:
        release: r-77e1ecbeb4a6
        fingerprint: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        process: running
        status: healthy
converged:
  description: The release is current, every link leads to it, units are as it has them, all agents run and answer.
  returned: success
  type: bool
  sample: true
differences:
  description: Why the host is not converged, in sentences.
  returned: success
  type: list
  elements: str
  sample: ["CacheManager: stopped"]
changes:
  description: What was changed, or would be.
  returned: success
  type: list
  elements: str
  sample: ["release r-77e1ecbeb4a6", "continuity.pyz"]
"""

from typing import Any, Mapping

from ansible_collections.fleetops.continuity.plugins.module_utils.host import HostDescription, compose
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout import staging
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.observation import observe, to_plain
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.options import RELEASE
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_document import describe, listing
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module


def execute(call: Call) -> Mapping[str, Any]:
    given = call.params
    description = HostDescription(given["host"], given["supervisor"], given["python"], given["address"])
    host = compose(given["root"], description, runner=call.runner, clock=call.clock)
    release_id, digest = given["release"], given["transfer"].get("digest")
    if given["resume"]:
        unfinished = host.ledger.state().unfinished
        if unfinished is None and digest is None:
            return {"changed": False, "needs": ["build"]}
        if unfinished is not None:
            release_id, digest = unfinished.release, host.releases.load(unfinished.release).digest
    files = {key: value for key, value in given["transfer"].items() if key != "digest"}
    wish = staging.Wish(description.to_text(), release_id, digest, **files)
    changes = staging.plan(host, wish)
    needs = [change.needs for change in changes if change.needs is not None]
    if changes and not needs and not call.check_mode:
        staging.apply(host, wish, changes, call.runner)
    release = staging.find(host, release_id)
    observation = observe(host, release) if call.check_mode or not needs else None
    return {
        "changed": bool(changes) and (call.check_mode or not needs),
        "needs": needs,
        "changes": [change.what for change in changes],
        "release": describe(release) if release is not None else None,
        "host_state": to_plain(observation) if observation is not None else None,
        "converged": observation is not None and not (observation.differences or (changes and call.check_mode)),
        "differences": list(observation.differences) if observation is not None else [],
        "diff": [
            {
                "before_header": change.shown or change.what,
                "after_header": change.what,
                "before": change.before,
                "after": change.after or listing(release),
            }
            for change in changes
            if call.diff_mode
        ],
    }


def main() -> None:
    run_module(RELEASE, execute)


if __name__ == "__main__":
    main()
