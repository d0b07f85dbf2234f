# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passes a built tarball through galaxy-importer; any warning or error it logs is a failure."""

from __future__ import annotations

import logging
import sys

from galaxy_importer import collection, config


def main(tarball: str) -> int:
    remarks: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: remarks.append(record.getMessage())  # type: ignore[method-assign]
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
    logger = logging.getLogger("galaxy_importer")
    logger.addHandler(handler)
    settings = config.Config(config.ConfigFile.load())
    with open(tarball, "rb") as archive:
        collection.import_collection(archive, logger=logger, cfg=settings)
    for remark in remarks:
        print(f"galaxy-importer: {remark}", file=sys.stderr)
    return 1 if remarks else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
