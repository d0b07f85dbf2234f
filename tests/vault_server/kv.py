# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key-value engines: version 1, flat, and version 2 with versions that can be deleted, undeleted and destroyed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from .engine import Call, Engine
from .messages import Refusal, Reply, answer, duration, missing, nothing, seconds, timestamp, unsupported

LEASE = 2764800
UPGRADING = (
    "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will "
    "resume service shortly."
)
INVALID_PATH = (
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If "
    "using the Vault CLI, use 'vault kv {}' for this operation."
)


def children(paths: Any, prefix: str) -> list[str]:
    """What LIST shows below a prefix: names, folders with a slash."""
    prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
    below = {path[len(prefix) :] for path in paths if path.startswith(prefix)}
    found = {name.partition("/")[0] + ("/" if "/" in name else "") for name in below}
    if not found:
        raise missing()
    return sorted(found)


class KeyValue1(Engine):
    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}

    def handle(self, call: Call) -> Reply:
        if call.operation == "list":
            return answer({"keys": children(self.entries, call.path)})
        if call.operation == "read":
            if call.path not in self.entries:
                raise missing()
            entry = self.entries[call.path]
            return answer(entry, lease_duration=_lease(entry))
        if call.operation == "update":
            if not call.body:
                raise Refusal(400, "missing data fields")
            self.entries[call.path] = call.body
            return nothing()
        if call.operation == "delete":
            self.entries.pop(call.path, None)
            return nothing()
        raise unsupported()


def _lease(entry: dict[str, Any]) -> int:
    for name in ("ttl", "lease"):
        try:
            return seconds(entry[name])
        except (KeyError, ValueError):
            continue
    return LEASE


@dataclass
class Version:
    data: Optional[dict[str, Any]]
    created: float
    deleted: Optional[float] = None
    destroyed: bool = False

    def metadata(self) -> dict[str, Any]:
        return {
            "created_time": timestamp(self.created),
            "deletion_time": timestamp(self.deleted) if self.deleted is not None else "",
            "destroyed": self.destroyed,
        }


@dataclass
class Entry:
    created: float
    updated: float
    versions: dict[int, Version] = field(default_factory=dict)
    current: int = 0
    max_versions: int = 0
    cas_required: bool = False
    delete_version_after: int = 0
    custom_metadata: Optional[dict[str, str]] = None


class KeyValue2(Engine):
    def __init__(self, upgrading: int = 0) -> None:
        self.entries: dict[str, Entry] = {}
        self.max_versions = 0
        self.cas_required = False
        self.delete_version_after = 0
        self.upgrading = upgrading

    def handle(self, call: Call) -> Reply:
        if self.upgrading > 0:
            self.upgrading -= 1
            raise Refusal(400, UPGRADING)
        kind, _slash, path = call.path.partition("/")
        actions = {
            "data": self._data,
            "metadata": self._metadata,
            "delete": self._delete,
            "undelete": self._undelete,
            "destroy": self._destroy,
            "config": self._config,
        }
        if kind not in actions or (not path and kind not in ("metadata", "config")):
            verb = {"read": "get", "list": "list", "delete": "delete"}.get(call.operation, "put")
            return answer(None, status=404, warnings=[INVALID_PATH.format(verb)])
        return actions[kind](call, path)

    def _data(self, call: Call, path: str) -> Reply:
        if call.operation == "read":
            return self._read(call, path)
        if call.operation == "update":
            return self._write(call, path, call.body.get("data"))
        if call.operation == "patch":
            return self._patch(call, path)
        if call.operation == "delete":
            entry = self.entries.get(path)
            version = entry.versions.get(entry.current) if entry else None
            if version is not None and not version.destroyed and not _deleted(version, call.now):
                version.deleted = call.now
            return nothing()
        raise unsupported()

    def _read(self, call: Call, path: str) -> Reply:
        asked = call.query.get("version", "0")
        try:
            number = int(asked)
        except ValueError:
            text = f'Field validation failed: error converting input {asked} for field "version"'
            raise Refusal(call.profile.bad_version, text) from None
        entry = self.entries.get(path)
        version = entry.versions.get(number if number > 0 else entry.current) if entry else None
        if entry is None or version is None:
            raise missing()
        gone = version.destroyed or _deleted(version, call.now)
        data = {
            "data": None if gone else version.data,
            "metadata": self._described(call, entry, version, number if number > 0 else entry.current),
        }
        return answer(data, status=404 if gone else 200)

    def _described(self, call: Call, entry: Entry, version: Version, number: int) -> dict[str, Any]:
        custom = {"custom_metadata": entry.custom_metadata} if call.profile.custom_metadata else {}
        return {**version.metadata(), "version": number, **custom}

    def _write(self, call: Call, path: str, data: Any) -> Reply:
        if not isinstance(data, dict):
            raise Refusal(400, "no data provided")
        entry = self.entries.get(path)
        self._check_and_set(call, entry)
        entry = self._entry(path, call.now)
        entry.current += 1
        entry.updated = call.now
        after = entry.delete_version_after or self.delete_version_after
        entry.versions[entry.current] = Version(data, call.now, deleted=call.now + after if after else None)
        for old in sorted(entry.versions)[: -(entry.max_versions or self.max_versions or 10)]:
            del entry.versions[old]
        return answer(self._described(call, entry, entry.versions[entry.current], entry.current))

    def _check_and_set(self, call: Call, entry: Optional[Entry]) -> None:
        options = call.body.get("options") or {}
        if "cas" not in options:
            if self.cas_required or (entry and entry.cas_required):
                raise Refusal(400, "check-and-set parameter required for this call")
            return
        if int(options["cas"]) != (entry.current if entry else 0):
            raise Refusal(400, "check-and-set parameter did not match the current version")

    def _patch(self, call: Call, path: str) -> Reply:
        if not call.profile.patch:
            raise unsupported()
        kind = call.headers.get("Content-Type", "").partition(";")[0]
        if kind != "application/merge-patch+json":
            raise Refusal(415, f"PATCH requires Content-Type of application/merge-patch+json, provided {kind}")
        entry = self.entries.get(path)
        latest = entry.versions.get(entry.current) if entry else None
        if latest is None or latest.data is None or _deleted(latest, call.now):
            raise missing()
        changes = call.body.get("data") or {}
        merged = {**latest.data, **changes}
        return self._write(call, path, {name: value for name, value in merged.items() if value is not None})

    def _entry(self, path: str, now: float) -> Entry:
        return self.entries.setdefault(path, Entry(now, now))

    def _metadata(self, call: Call, path: str) -> Reply:
        if call.operation == "list":
            return answer({"keys": children(self.entries, path)})
        if not path:
            raise unsupported()
        if call.operation == "delete":
            self.entries.pop(path, None)
            return nothing()
        if call.operation == "update":
            entry = self._entry(path, call.now)
            entry.max_versions = int(call.body.get("max_versions", entry.max_versions))
            entry.cas_required = bool(call.body.get("cas_required", entry.cas_required))
            entry.delete_version_after = seconds(call.body.get("delete_version_after", entry.delete_version_after))
            entry.custom_metadata = call.body.get("custom_metadata", entry.custom_metadata)
            return nothing()
        if call.operation != "read":
            raise unsupported()
        if path not in self.entries:
            raise missing()
        entry = self.entries[path]
        custom = {"custom_metadata": entry.custom_metadata} if call.profile.custom_metadata else {}
        return answer(
            {
                "cas_required": entry.cas_required,
                "created_time": timestamp(entry.created),
                "current_version": entry.current,
                "delete_version_after": duration(entry.delete_version_after),
                "max_versions": entry.max_versions,
                "oldest_version": min(entry.versions, default=0),
                "updated_time": timestamp(entry.updated),
                "versions": {str(number): version.metadata() for number, version in entry.versions.items()},
                **custom,
            }
        )

    def _named(self, call: Call, path: str) -> list[Version]:
        if call.operation != "update":
            raise unsupported()
        numbers = call.body.get("versions")
        if not numbers:
            raise Refusal(400, "No version number provided")
        entry = self.entries.get(path)
        return [entry.versions[int(number)] for number in numbers if int(number) in entry.versions] if entry else []

    def _delete(self, call: Call, path: str) -> Reply:
        for version in self._named(call, path):
            if not version.destroyed and not _deleted(version, call.now):
                version.deleted = call.now
        return nothing()

    def _undelete(self, call: Call, path: str) -> Reply:
        for version in self._named(call, path):
            if not version.destroyed:
                version.deleted = None
        return nothing()

    def _destroy(self, call: Call, path: str) -> Reply:
        for version in self._named(call, path):
            version.destroyed, version.data = True, None
        return nothing()

    def _config(self, call: Call, path: str) -> Reply:
        if path:
            raise missing()
        if call.operation == "update":
            self.max_versions = int(call.body.get("max_versions", self.max_versions))
            self.cas_required = bool(call.body.get("cas_required", self.cas_required))
            self.delete_version_after = seconds(call.body.get("delete_version_after", self.delete_version_after))
            return nothing()
        if call.operation != "read":
            raise unsupported()
        return answer(
            {
                "max_versions": self.max_versions,
                "cas_required": self.cas_required,
                "delete_version_after": duration(self.delete_version_after),
            }
        )


def _deleted(version: Version, now: float) -> bool:
    return version.deleted is not None and version.deleted <= now
