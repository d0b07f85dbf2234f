# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each part of the tests as a nox session, run in the environment that nox itself is in.

`make test` makes that environment (.cache/venv) and runs them all through tests/suite.py, which
counts what every session leaves as JUnit files under .cache/reports/<session>/.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Mapping, Optional
from xml.etree import ElementTree

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "sanity", "docs", "galaxy", "unit", "module", "attacks", "systemd", "molecule"]

CHECKOUT = Path(__file__).resolve().parent
CACHE = CHECKOUT / ".cache"
TOOLS = Path(sys.executable).parent
ENGINE = "plugins/module_utils"
CORES = {"2.19.14": "3.11", "2.20.10": "3.12", "2.21.4": "3.13"}
"""Every supported ansible-core, with the Python that it is tested on."""
CORE = "2.19.14"
GALAXY_IMPORTER = "galaxy-importer==0.4.44"
"""In an environment of its own: it holds attrs back to a version that nox cannot use."""
OLDEST_TARGET = "3.9"
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile")
"""Every file of tests has folders and addresses of its own; within a file some tests tell one story, in order."""
SCENARIOS = {"default": ("converge", "idempotence", "verify"), "rollback": ("converge", "verify")}

os.environ["NO_COLOR"] = "1"
os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"


class Checks:
    """Runs programs, quietly while they succeed, and reports each as one test."""

    def __init__(self, session: nox.Session) -> None:
        self._session = session
        self._failed: list[str] = []
        self._report = reports(session) / "checks.xml"
        self._suite = ElementTree.Element("testsuite", name=session.name)

    def run(
        self,
        name: str,
        *argv: str,
        cwd: Path = CHECKOUT,
        env: Optional[Mapping[str, str]] = None,
        loud: bool = False,
    ) -> bool:
        """Whether it ended well. May be called from several threads; ``loud`` shows what it writes at once."""
        case = ElementTree.SubElement(self._suite, "testcase", classname=self._session.name, name=name)
        began = time.monotonic()
        ended = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=None if loud else subprocess.PIPE,
            stderr=None if loud else subprocess.STDOUT,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
        case.set("time", f"{seconds:.1f}")
        self._session.log(f"{name}: {'passed' if ended.returncode == 0 else 'FAILED'} in {seconds:.0f} s")
        if ended.returncode != 0:
            self._failed.append(name)
            print(f"{shlex.join(argv)} ended with {ended.returncode}:\n{ended.stdout or ''}", flush=True)
            ElementTree.SubElement(case, "failure", message=f"ended with {ended.returncode}")
        return ended.returncode == 0

    def skip(self, name: str, reason: str) -> None:
        self._session.log(f"{name} skipped: {reason}")
        case = ElementTree.SubElement(self._suite, "testcase", classname=self._session.name, name=name)
        ElementTree.SubElement(case, "skipped", message=reason)

    def finish(self) -> None:
        ElementTree.ElementTree(self._suite).write(self._report)
        if self._failed:
            self._session.error("failed: " + ", ".join(self._failed))


def reports(session: nox.Session) -> Path:
    """The empty folder in which this session leaves its JUnit files."""
    folder = CACHE / "reports" / session.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def collections_path() -> Path:
    """A collections path on which this checkout is fleetops.continuity."""
    link = CACHE / "collections/ansible_collections/fleetops/continuity"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(CHECKOUT)
    return CACHE / "collections"


def exported_tree(name: str) -> Path:
    """A copy of what git knows of, where ansible-test and ansible-galaxy want a collection to lie."""
    tree = CACHE / "exported" / name / "ansible_collections/fleetops/continuity"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = CHECKOUT / name, tree / name
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet", "."], cwd=tree, check=True)
    subprocess.run(["git", "add", "--all"], cwd=tree, check=True)
    return tree


def interpreter(version: str) -> Optional[str]:
    """A Python of this version that really starts: on PATH, or under pyenv."""
    candidates = [shutil.which(f"python{version}")]
    candidates += [str(path) for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def environment(session: nox.Session, name: str, python: str, *packages: str) -> Path:
    """The bin folder of a virtual environment of its own with these packages, made once."""
    folder = CACHE / "environments" / name
    complete = folder / ".complete"
    if not complete.exists() or complete.read_text() != repr(packages):
        session.run(python, "-m", "venv", "--clear", str(folder), external=True, silent=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        session.run(*pip, *packages, external=True, silent=True)
        complete.write_text(repr(packages))
    return folder / "bin"


def ansible_test_home(core: str, ansible_test: Path) -> Path:
    """A home in which ansible-test finds pip without fetching it from a site of its own.

    It looks for get_pip_<version>.py there; ours takes the pip that every Python brings along.
    """
    home = CACHE / "sanity" / core
    cache = home / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    internals = next(ansible_test.parent.parent.glob("lib/python*/site-packages/ansible_test/_internal"))
    for version in re.findall(r"\bpip='([\d.]+)'", (internals / "python_requirements.py").read_text()):
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text("import ensurepip\n\nensurepip.bootstrap()\n")
    settings = Path.home() / ".config"
    if settings.is_dir() and not (home / ".config").exists():
        (home / ".config").symlink_to(settings)
    return home


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, licences, YAML, playbooks."""
    checks = Checks(session)
    engine = collections_path() / "ansible_collections/fleetops/continuity" / ENGINE
    collections = {"MYPYPATH": str(collections_path()), "ANSIBLE_COLLECTIONS_PATH": str(collections_path())}
    checks.run("ruff check", "ruff", "check", ".")
    checks.run("ruff format", "ruff", "format", "--diff", "--quiet", ".")
    checks.run("mypy strict on the engine", "mypy", str(engine), env=collections)
    checks.run("yamllint", "yamllint", "--strict", ".")
    checks.run("ansible-lint production", "ansible-lint", "--offline", env=collections)
    checks.run("reuse", "reuse", "lint", "--quiet")
    checks.run("changelog fragments", "antsibull-changelog", "lint")
    checks.finish()


@nox.session
def sanity(session: nox.Session) -> None:
    """ansible-test sanity, without one ignore line, on every supported core whose Python is here."""
    checks = Checks(session)
    ignored = sorted(str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "tests/sanity").glob("ignore*"))
    checks.run("no ignore file", sys.executable, "-c", f"import sys; sys.exit({ignored!r} != [])")

    def on(core: str) -> None:
        python, target = interpreter(CORES[core]), interpreter(OLDEST_TARGET)
        if python is None:
            checks.skip(f"core {core} on Python {CORES[core]}", "no such Python on PATH or under pyenv")
            return
        tree = exported_tree(f"sanity-{core}")
        ansible_test = environment(session, f"core-{core}", python, f"ansible-core=={core}") / "ansible-test"
        variables = {"HOME": str(ansible_test_home(core, ansible_test))}
        sanity_tests = [str(ansible_test), "sanity", "--color", "no"]
        variables["PATH"] = f"{ansible_test.parent}:{os.environ['PATH']}"
        checks.run(f"core {core}", *sanity_tests, "--python", CORES[core], cwd=tree, env=variables)
        name = f"core {core}, targets on Python {OLDEST_TARGET}"
        if target is None:
            checks.skip(name, f"no Python {OLDEST_TARGET} on PATH or under pyenv")
            return
        variables["PATH"] = f"{Path(target).parent}:{variables['PATH']}"
        sanity_tests += ["--test", "compile", "--test", "import", "--python", OLDEST_TARGET]
        checks.run(name, *sanity_tests, cwd=tree, env=variables)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(on, CORES))
    checks.finish()


@nox.session
def docs(session: nox.Session) -> None:
    """Documentation of the modules, plugins and roles."""
    checks = Checks(session)
    tree = exported_tree("docs")
    arguments = ["lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "--validate-collection-refs", "self", "."]
    checks.run("antsibull-docs", "antsibull-docs", *arguments, cwd=tree)
    checks.finish()


@nox.session
def galaxy(session: nox.Session) -> None:
    """The tarball as Galaxy and a user see it: built, imported, installed, its playbooks found by name."""
    checks = Checks(session)
    tree = exported_tree("galaxy")
    out = CACHE / "galaxy"
    shutil.rmtree(out, ignore_errors=True)
    installed = {"ANSIBLE_COLLECTIONS_PATH": str(out / "installed")}
    if checks.run("build", "ansible-galaxy", "collection", "build", "--output-path", str(out), cwd=tree):
        tarball = str(next(out.glob("fleetops-continuity-*.tar.gz")))
        importer = environment(session, "galaxy-importer", sys.executable, GALAXY_IMPORTER, f"ansible-core=={CORE}")
        path = {"PATH": f"{importer}:{os.environ['PATH']}"}
        checks.run("galaxy-importer", str(importer / "python"), "tests/galaxy_import.py", tarball, env=path)
        where = ["--offline", "--collections-path", str(out / "installed")]
        if checks.run("install", "ansible-galaxy", "collection", "install", *where, tarball, env=installed):
            for playbook in sorted((CHECKOUT / "playbooks").glob("*.yml")):
                name = f"fleetops.continuity.{playbook.stem}"
                checks.run(f"playbook {name}", "ansible-playbook", "--syntax-check", name, cwd=out, env=installed)
    checks.finish()


def pytest(session: nox.Session, *arguments: str) -> None:
    junit = reports(session) / "pytest.xml"
    session.run("pytest", "--quiet", f"--junit-xml={junit}", *arguments, *session.posargs, external=True)


@nox.session
def unit(session: nox.Session) -> None:
    """The engine, package by package, and the rules of the house."""
    pytest(session, *SIDE_BY_SIDE, "tests/unit", "tests/conformance")


@nox.session
def module(session: nox.Session) -> None:
    """Modules, plugins and playbooks through a real ansible-core, on local roots."""
    pytest(session, *SIDE_BY_SIDE, "tests/module")


@nox.session
def attacks(session: nox.Session) -> None:
    """What must not be able to hurt: killed controllers, torn files, hostile input."""
    pytest(session, *SIDE_BY_SIDE, "tests/attacks")


@nox.session
def systemd(session: nox.Session) -> None:
    """The systemd supervisor against a real systemd: on a host of the test bed, where one can be had."""
    bed = CACHE / "testbed/systemd"
    session.run(sys.executable, "tests/testbed/hosts.py", "create", str(bed), external=True)
    try:
        fleet = json.loads((bed / "hosts.yml").read_text())["all"]["children"]["fleet"]
        os.environ["CONTINUITY_SYSTEMD_HOST"] = fleet["hosts"]["PC2"].get("testbed_container", "")
        pytest(session, "tests/systemd")
    finally:
        session.run(sys.executable, "tests/testbed/hosts.py", "destroy", str(bed), external=True)


@nox.session
def molecule(session: nox.Session) -> None:
    """Rollout and rollback of the whole demo fleet on two hosts, made once for all scenarios."""
    checks = Checks(session)
    collections_path()
    environment = {"MOLECULE_GLOB": "molecule/*/molecule.yml"}

    def step(action: str, scenario: str) -> bool:
        report = CACHE / "reports/molecule" / f"{scenario}.xml"
        environment["PYTEST_ADDOPTS"] = f"--capture=no --junit-xml={report}"
        arguments = ["--base-config", "molecule/config.yml", action, "--scenario-name", scenario]
        return checks.run(f"{scenario}: {action}", "molecule", *arguments, env=environment, loud=action == "verify")

    step("destroy", "default")
    try:
        if step("create", "default") and step("prepare", "default"):
            for scenario, actions in SCENARIOS.items():
                all(step(action, scenario) for action in actions)
    finally:
        step("destroy", "default")
    checks.finish()
