# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository's folder: what lies where, how it is made, and how a file becomes published."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Sequence

from .faults import DamagedError, RepositoryError
from .naming import Blocks, PlainBlocks

FORMAT = "fleetops.continuity repository"
VERSION = 1
ENCRYPTED = "aes-256-gcm"
KNOWN_FEATURES = frozenset({ENCRYPTED})
LARGEST = 1 << 33
"""Bytes: no pack file is larger, since its offsets have 32 bits."""
LARGEST_CONFIG = 1 << 20
_HOST = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one spelling of a JSON object that is published."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # A lone surrogate (a byte of the command line that is no text) has no UTF-8; as an escape it comes back.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def timestamp(seconds: float) -> str:
    """ISO 8601 in UTC with microseconds, for example ``2026-01-31T02:00:00.000000Z``."""
    from datetime import datetime, timezone

    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def is_host(name: str) -> bool:
    return _HOST.fullmatch(name) is not None


def check_host(host: str) -> str:
    if not is_host(host):
        raise RepositoryError(
            f"{host!r} cannot be the name of a host here", fix="Use letters, digits, '.', '_' and '-' only"
        )
    return host


def is_digest(text: object) -> bool:
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(file: Path, content: bytes) -> None:
    """Write a file nobody looks at yet; its content is on the disk afterwards."""
    with open(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def open_published(file: Path, most: int = LARGEST) -> int:
    """A descriptor to read a published file. Raises OSError also for what was never published: a pipe or a
    device that would be read for ever, a link, a file larger than any of its kind (``most`` bytes)."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > most:
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a file that was published", str(file))
    return descriptor


def read_published(file: Path, most: int) -> bytes:
    """The content of a published file, see ``open_published``."""
    with open(open_published(file, most), "rb") as stream:
        return stream.read()


def make_folder(folder: Path) -> None:
    """Make a folder and its ancestors, each of them durable and for the owner alone."""
    if not folder.is_dir():
        make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        sync_folder(folder.parent)


@contextlib.contextmanager
def refusals(what: str, where: object, fix: str) -> Iterator[None]:
    """Turn the operating system's refusal (disk full, no permission) into the one error voice."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        # What was refused may have been named by its descriptor alone.
        named = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(where)
        if not os.path.isabs(named) and os.path.isabs(str(where)):
            # Named from the folder in which it stands.
            named = f"{where}: {named}"
        elif isinstance(error, PermissionError):
            reason += _whose(named)
        raise RepositoryError(f"{what}: {reason}", where=named, fix=fix) from error


def _whose(file: str) -> str:
    """To whom belongs what refused: root may have written into the repository of somebody else."""
    while not os.path.lexists(file) and file not in ("", "/"):
        file = os.path.dirname(file)
    with contextlib.suppress(OSError):
        number = os.lstat(file or ".").st_uid
        return f" ({file or '.'} belongs to {_user(number)})" if number != os.geteuid() else ""
    return ""


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def storing(where: Path) -> AbstractContextManager[None]:
    """While writing to the repository."""
    return refusals(
        "Cannot write to the repository",
        where,
        "What was published before is untouched; make room or give permission, and run again",
    )


class Repository:
    """An opened repository. Opening checks its format; it takes no lock.

    ``blocks`` is how its blocks are named and kept. An encrypted one that was opened without an identity lets
    its manifests be read, and raises RepositoryError when anything else is.
    """

    def __init__(self, root: Path, config: Mapping[str, Any], identity_files: Sequence[str] = ()) -> None:
        self.root = root
        self.encrypted = ENCRYPTED in config["features"]
        self.blocks: Blocks = PlainBlocks()
        if self.encrypted:
            from . import encryption

            self.blocks = encryption.unlock(config.get("encryption", {}), identity_files, str(root))
        elif identity_files:
            # Somebody may have put another repository in the place of an encrypted one.
            raise RepositoryError(
                "An identity was given, but this repository is not encrypted",
                where=str(root),
                fix="Leave the identity out if that is how it was made",
            )
        self.id = str(config["id"])
        self.append_only = config.get("append_only") is True
        self.packs = root / "packs"
        self.index = root / "index"
        self.manifests = root / "manifests"
        self.pins = root / "pins"
        self.locks = root / "locks"

    @classmethod
    def init(
        cls,
        path: str,
        now: float,
        *,
        recipients: Sequence[str] = (),
        recipients_file: Optional[str] = None,
        identity_files: Sequence[str] = (),
    ) -> tuple[Repository, bool]:
        """Open the repository at ``path``, making it when there is none. Returns (repository, made).

        With recipients (public keys of age) it is made encrypted, or must be so already.
        """
        root = Path(path)
        wanted = bool(recipients or recipients_file)
        with storing(root):
            if (root / "config.json").exists():
                there = cls.open(path, identity_files)
                if wanted and not there.encrypted:
                    raise RepositoryError(
                        "This repository is there already, and is not encrypted",
                        where=path,
                        fix="Make an encrypted one in another folder",
                    )
                return there, False
            if _is_bereft(root):
                raise _damaged("config.json is missing, though there are snapshots", root / "config.json")
            if _holds_something_else(root):
                raise RepositoryError(
                    "This folder holds something else",
                    where=path,
                    fix="Name an empty folder, or one that does not exist",
                )
            if identity_files and not wanted:
                raise RepositoryError(
                    "There is no repository here, and an identity alone makes none",
                    where=path,
                    fix="Make it with the public keys of those who may open it: `continuity init --recipient`",
                )
            sealed: dict[str, Any] = {}
            if wanted:
                from . import encryption

                sealed["encryption"] = encryption.new_key(recipients, recipients_file)
            for name in _SKELETON:
                make_folder(root / name)
            config = {
                "created": timestamp(now),
                "features": [ENCRYPTED] if wanted else [],
                "format": FORMAT,
                "id": os.urandom(16).hex(),
                "version": VERSION,
                **sealed,
            }
            made = cls(root, config)._claim(canonical({**config, "sha256": sha256(canonical(config))}))
        return cls.open(path, identity_files), made

    @classmethod
    def open(cls, path: str, identity_files: Sequence[str] = ()) -> Repository:
        """Raises RepositoryError, also when none of the identities opens an encrypted one."""
        file = Path(path) / "config.json"
        try:
            content = read_published(file, LARGEST_CONFIG)
            config = json.loads(content)
        except FileNotFoundError as error:
            if _is_bereft(Path(path)):
                raise _damaged("config.json is missing, though there are snapshots", file) from error
            raise RepositoryError(
                "There is no repository here", where=path, fix="Make one with `continuity init` or by a first snapshot"
            ) from error
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ELOOP, errno.EIO):
                raise _damaged(f"The repository cannot be read: {error.strerror}", file) from error
            raise RepositoryError(
                f"The repository cannot be read: {error.strerror}", where=str(file), fix="Run as its owner"
            ) from error
        except (ValueError, RecursionError) as error:
            raise _damaged("The repository's config.json is not JSON", file) from error
        if not isinstance(config, dict) or config.get("format") != FORMAT or not isinstance(config.get("id"), str):
            raise _damaged("This is not the config.json of a repository", file)
        bare = {key: value for key, value in config.items() if key != "sha256"}
        if content != canonical(config) or config.get("sha256") != sha256(canonical(bare)):
            raise _damaged("The repository's config.json was changed", file)
        features = config.get("features", [])
        unknown = set(map(str, features)) - KNOWN_FEATURES if isinstance(features, list) else {"features"}
        if config.get("version") != VERSION or unknown:
            raise RepositoryError(
                f"This repository needs more than format version {VERSION}"
                + (f": {', '.join(sorted(unknown))}" if unknown else ""),
                where=str(file),
                fix="Use a newer fleetops.continuity",
            )
        return cls(Path(path), config, identity_files)

    def set_append_only(self, wanted: bool) -> bool:
        """Allow or refuse that anything is ever deleted here; False when it was so already."""
        if self.append_only == wanted:
            return False
        file = self.root / "config.json"
        with storing(file):
            config = json.loads(read_published(file, LARGEST_CONFIG))
            config.pop("sha256")
            config["append_only"] = wanted
            owner = f"init-{os.getpid()}"
            self.publish(file, canonical({**config, "sha256": sha256(canonical(config))}), owner)
            self.clear_staging(owner)
        self.append_only = wanted
        return True

    def _claim(self, config: bytes) -> bool:
        """Publish config.json unless somebody else was quicker."""
        owner = f"init-{os.getpid()}"
        aside = self.staging(owner) / "config.json"
        write_durably(aside, config)
        try:
            os.link(aside, self.root / "config.json")
        except FileExistsError:
            return False
        finally:
            self.clear_staging(owner)
        sync_folder(self.root)
        return True

    def pack_file(self, digest: str) -> Path:
        return self.packs / digest[:2] / f"{digest}.pack"

    def staging(self, owner: str) -> Path:
        """The folder for what ``owner`` (a host, which holds its lock) has not published yet."""
        folder = self.root / "tmp" / owner
        make_folder(folder)
        return folder

    def clear_staging(self, owner: str) -> None:
        """Throw away what a killed writer of the same name left behind."""
        folder = self.root / "tmp" / owner
        if folder.exists():
            import shutil

            shutil.rmtree(folder)

    def publish(self, final: Path, content: bytes, owner: str) -> None:
        """Write ``content`` aside, make it durable, rename it to its name, make the name durable."""
        aside = self.staging(owner) / final.name
        write_durably(aside, content)
        make_folder(final.parent)
        os.rename(aside, final)
        sync_folder(final.parent)


_SKELETON = ("packs", "index", "manifests", "pins", "locks", "tmp")
_PUBLISHED = ("manifests/*/*-*.json", "index/*.index", "packs/??/*.pack")


def is_repository(path: str) -> bool:
    """Whether a repository lies here, sound or not."""
    root = Path(path)
    return os.path.lexists(root / "config.json") or any(next(root.glob(pattern), None) for pattern in _PUBLISHED)


def _holds_something_else(root: Path) -> bool:
    """Whether more stands here than a killed ``init`` leaves: what lies in ``tmp`` would be thrown away."""
    if not root.is_dir():
        return False
    inside = [f"{name}/{entry}" for name in _SKELETON if (root / name).is_dir() for entry in os.listdir(root / name)]
    ours = all(name in _SKELETON for name in os.listdir(root))
    return not (ours and all(entry.startswith(("tmp/init-", "locks/")) for entry in inside)) and not os.path.lexists(
        root / "config.json"
    )


def _is_bereft(root: Path) -> bool:
    """Whether a repository lies here that has lost its config.json: with a new one it would be another repository,
    no longer encrypted or append-only."""
    return is_repository(str(root)) and not os.path.lexists(root / "config.json")


def _damaged(what: str, file: Path) -> DamagedError:
    return DamagedError(what, where=str(file), fix="Bring it back from a copy: `continuity heal --from`")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
