# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of the release module: builds the release, brings it over where it is missing."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.dependencies import resolve
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Fleet
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.source_tree import SourceTree
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.agent_rules import AgentRules
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.options import RELEASE
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.project_files import scan
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_build import (
    BuiltRelease,
    HostInput,
    build,
    default_id,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_document import describe, listing
from ansible_collections.fleetops.continuity.plugins.plugin_utils import zipapp

OF_HOST = ("startup_config", "python", "address", "agent_rules", "values")
"""Options that shape a host's release; other hosts of the fleet have them as ``continuity_<option>``."""


@dataclass(frozen=True)
class Brought:
    """A file to bring to the host."""

    name: str
    content: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(argument_spec=dict(RELEASE))
        options = _plain(options)
        try:
            result.update(self._stage(options, task_vars))
        except ContinuityError as error:
            raise AnsibleActionFail(str(error), result={"where": error.where, "fix": error.fix}) from error
        return result

    def _stage(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        engine = Brought("continuity.pyz", zipapp.build())
        transfer = {"program_digest": engine.digest}
        if options["resume"]:
            result = self._call({**options, "transfer": transfer}, task_vars)
            if result.get("needs") != ["build"]:
                return self._bring(options, transfer, result, None, engine, task_vars)
        release = self._build(options, task_vars)
        options["release"] = release.release.id
        transfer["digest"] = release.release.digest
        result = self._call({**options, "transfer": transfer}, task_vars)
        result = self._bring(options, transfer, result, release, engine, task_vars)
        if not result.get("failed"):
            result["release"] = describe(release.release)
            for part in result.get("diff", []):
                if part["after_header"] == f"release {release.release.id}" and not part["after"]:
                    part["after"] = listing(release.release)
        return result

    def _call(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="fleetops.continuity.release", module_args=options, task_vars=task_vars
        )
        return result

    def _bring(
        self,
        options: dict[str, Any],
        transfer: dict[str, Any],
        result: dict[str, Any],
        release: Optional[BuiltRelease],
        engine: Brought,
        task_vars: dict[str, Any],
    ) -> dict[str, Any]:
        """The result after bringing what the host said that it needs, and calling again."""
        needs = result.pop("needs", [])
        if result.get("failed") or not needs or self._task.check_mode:
            return result
        transfer = dict(transfer)
        if "pyz" in needs:
            transfer["program"] = self._transfer(engine)
        if "archive" in needs:
            if release is None:
                raise ContinuityError(
                    "the release of the unfinished rollout is damaged on the host",
                    where=options["host"],
                    fix="Run the rollback playbook",
                )
            archive = Brought("release.tar.gz", release.archive())
            transfer.update(archive=self._transfer(archive), archive_digest=archive.digest)
        result = self._call({**options, "transfer": transfer}, task_vars)
        result.pop("needs", None)
        return result

    def _transfer(self, brought: Brought) -> str:
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        remote: str = self._connection._shell.join_path(self._connection._shell.tmpdir, brought.name)
        with tempfile.NamedTemporaryFile(prefix="continuity-") as local:
            local.write(brought.content)
            local.flush()
            self._transfer_file(local.name, remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return remote

    def _build(self, options: Mapping[str, Any], task_vars: dict[str, Any]) -> BuiltRelease:
        for name in ("project", "startup_config"):
            if not options[name]:
                raise ContinuityError(f"{name} is missing", where=options["host"], fix=f"Set continuity_{name}")
        project = self._loader.path_dwim(options["project"])
        own = self._input(options["host"], options)
        others = [
            self._input(other["host"], other)
            for other in self._others(project, task_vars)
            if other["host"] != options["host"]
        ]
        inputs = sorted([own, *others], key=lambda one: one.config.host)
        files = scan(project)
        graph = resolve(Fleet(tuple(one.config for one in inputs)))
        release_id = options["release"] or default_id(files, inputs)
        return build(own, release_id, files, SourceTree(project), graph.edges, graph.layer_of)

    def _others(self, project: str, task_vars: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The options of every inventory host of the same project, from its variables."""
        hostvars = task_vars["hostvars"]
        for name in sorted(hostvars):
            variables = hostvars[name]
            if "continuity_project" not in variables or "continuity_startup_config" not in variables:
                continue
            if os.path.realpath(self._loader.path_dwim(str(variables["continuity_project"]))) == os.path.realpath(
                project
            ):
                given = {
                    option: variables.get(f"continuity_{option}") or RELEASE[option].get("default")
                    for option in OF_HOST
                }
                yield {**_plain(given), "host": str(variables.get("continuity_host", name))}

    def _input(self, host: str, options: Mapping[str, Any]) -> HostInput:
        path = self._loader.path_dwim(options["startup_config"])
        values = {str(name): str(value) for name, value in options["values"].items()}
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise ContinuityError(f"the startup config cannot be read: {error.strerror}", where=path) from error
        rules = [{key: value for key, value in rule.items() if value is not None} for rule in options["agent_rules"]]
        return HostInput(
            config=load_host(host, path, values=values),
            config_content=content,
            python=options["python"],
            address=options["address"],
            rules=AgentRules.parse(rules),
            values=values,
        )


def _plain(value: Any) -> Any:
    """Values without what Ansible attaches to them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    return value
