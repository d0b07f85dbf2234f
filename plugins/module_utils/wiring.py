# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that knows AnsibleModule: options in, a result or one clear error out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Sequence

from ansible.module_utils.basic import AnsibleModule

from .effects import Clock, CompletedRun, SystemClock
from .errors import ContinuityError


class ModuleRunner:
    """Programs started through Ansible's own ``run_command``."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Optional[str] = None,
        timeout: float = 60.0,
    ) -> CompletedRun:
        bounded = ["timeout", "--kill-after=5", f"{timeout:g}", *argv]
        status, stdout, stderr = self._module.run_command(
            bounded, data=stdin, environ_update={"LC_ALL": "C.UTF-8"}, handle_exceptions=False
        )
        if status == 124:
            raise ContinuityError(f"{argv[0]} did not end within {timeout:g} s", where=" ".join(argv))
        if status in (126, 127):
            raise ContinuityError(f"{argv[0]} cannot be run: {stderr.strip()}", fix=f"Install {argv[0]} on this host")
        return CompletedRun(status, stdout, stderr)


@dataclass(frozen=True)
class Call:
    """One call of a module, without Ansible's own types."""

    params: Mapping[str, Any]
    check_mode: bool
    diff_mode: bool
    runner: ModuleRunner
    clock: Clock
    warn: Callable[[str], None]


def run_module(
    argument_spec: Mapping[str, Any],
    execute: Callable[[Call], Mapping[str, Any]],
    **constraints: Any,
) -> None:
    """Run one module: ``execute`` gets the call and returns the result of ``exit_json``.

    ``constraints`` are passed to AnsibleModule (``required_if``, ``mutually_exclusive``, …). All our
    modules support check mode. A :class:`ContinuityError` becomes a failure whose ``msg`` is its
    sentence and whose ``where`` and ``fix`` are its parts.
    """
    module = AnsibleModule(argument_spec=dict(argument_spec), supports_check_mode=True, **constraints)
    call = Call(
        params=module.params,
        check_mode=module.check_mode,
        diff_mode=module._diff,
        runner=ModuleRunner(module),
        clock=SystemClock(),
        warn=lambda text: module.warn(as_text(text)),
    )
    try:
        result = as_text(dict(execute(call)))
    except ContinuityError as error:
        module.fail_json(**as_text({"msg": str(error), "where": error.where, "fix": error.fix}))
    module.exit_json(**result)


def as_text(value: Any) -> Any:
    """A result as it can be handed over: Ansible refuses all of it for one name of a file that is no UTF-8. Such bytes
    become escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {as_text(key): as_text(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_text(one) for one in value]
    return value
