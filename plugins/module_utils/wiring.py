# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that knows AnsibleModule: options in, a result or one clear error out."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import resource
import sys
import threading
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable, Mapping, Optional, Sequence
from urllib.parse import quote

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


@dataclass(frozen=True)
class SecretCall(Call):
    """One call of a module that has secrets in its hands. ``step`` is told what is being done, in one word;
    ``hide`` gets each value, so that it is masked should it ever come into the result."""

    step: Callable[[str], None]
    hide: Callable[[bytes], None]


def run_secret_module(
    argument_spec: Mapping[str, Any],
    execute: Callable[[SecretCall], Mapping[str, Any]],
    **constraints: Any,
) -> None:
    """As ``run_module``, for modules that see values: ``no_log`` hides no exception, so no text of one is ever shown.

    A :class:`ContinuityError` is made of names and paths and is shown, without its causes; of anything else its type
    and where it arose. Failures carry ``error_code`` and ``step``. The process leaves no core and cannot be traced.
    """
    _close_process()
    module = AnsibleModule(argument_spec=dict(argument_spec), supports_check_mode=True, **constraints)
    guard = _Guard()
    result: dict[str, Any] = {}
    with guard:
        call = SecretCall(
            params=module.params,
            check_mode=module.check_mode,
            diff_mode=module._diff,
            runner=ModuleRunner(module),
            clock=SystemClock(),
            warn=module.warn,
            step=guard.at,
            hide=lambda value: _hide(module, value),
        )
        result = dict(execute(call))
    if guard.failure:
        module.fail_json(exception=None, **guard.failure)
    module.exit_json(**result)


class _Guard:
    """Ends every error: what is left of it is ``failure``, and no traceback leads to a value any more."""

    def __init__(self) -> None:
        self.failure: dict[str, Any] = {}
        self._step = "options"

    def at(self, step: str) -> None:
        self._step = step

    def __enter__(self) -> _Guard:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        if isinstance(error, ContinuityError):
            code = str(getattr(error, "code", "failed"))
            self.failure = {"msg": str(error), "where": error.where, "fix": error.fix, "error_code": code}
        else:
            last = traceback.extract_tb(trace)[-1]
            at = f"{type(error).__name__} at {os.path.basename(last.filename)}:{last.lineno}"
            self.failure = {"msg": f"An unforeseen error, whose text is not shown: {at}", "error_code": "unforeseen"}
        self.failure["step"] = self._step
        return True


def _close_process() -> None:
    """No core dump, no tracing by others of the same user (prctl(2), PR_SET_DUMPABLE), no traceback on stderr."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    sys.excepthook = lambda *_error: None
    threading.excepthook = lambda _error: None
    sys.unraisablehook = lambda _error: None


_SHORTEST = 8
"""Shorter values are not masked: they would be found within other words."""


def _hide(module: AnsibleModule, value: bytes) -> None:
    text = value.decode("utf-8", "replace")
    forms = {text, *text.splitlines(), json.dumps(text)[1:-1], quote(text, safe=""), value.hex()}
    forms |= {base64.b64encode(value).decode(), base64.urlsafe_b64encode(value).decode()}
    forms = {form for form in forms if len(form) >= _SHORTEST}
    masking = sys.modules.get("ansible.module_utils.secrets")
    if masking is not None:
        masking.register_secrets(sorted(forms))
    else:
        module.no_log_values |= forms
