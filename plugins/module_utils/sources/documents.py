# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON documents: parsed before they are taken."""

from __future__ import annotations

import json
from typing import Iterator

from ..source import Piece
from .files import FileReading

LARGEST = 64 * 1024 * 1024
"""Larger documents are taken like any file: parsing them would cost more memory than a host may have."""


class DocumentReading(FileReading):
    """A file that must be valid JSON; ``fault`` says why it is not."""

    kind = "json"

    def _pieces(self) -> Iterator[Piece]:
        text = b"".join(self._stretch(0, self.size))
        try:
            json.loads(text)
        except RecursionError:
            self._fault = "not valid JSON: nested too deeply"
        except ValueError as error:
            self._fault = f"not valid JSON: {error}"
        for start in range(0, len(text), 1024 * 1024):
            yield text[start : start + 1024 * 1024]
