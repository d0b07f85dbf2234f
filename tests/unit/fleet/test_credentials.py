# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""No credential is shown, wherever in a config it stands; what is none is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.credentials import REDACTED, shown, shown_text

PLAIN = "correct-horse-battery-9"
SHAPED = {
    "vault": "hvs.CAESIJ0abcdefghijklmnop1234567890",
    "github": "ghp_" + "a1B2" * 9,
    "aws": "AKIA" + "ABCD1234" * 2,
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9mLWl0",
    "age": "AGE-SECRET-KEY-1" + "QPZRY9X8" * 7,
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    "slack": "xoxb-" + "1234567890-abcdefgh",
    "hash": "$6$salt$abcdefgh.ijklmnop",
}


def dumped(value: Any) -> str:
    return json.dumps(shown(value), ensure_ascii=False)


@pytest.mark.parametrize("secret", SHAPED.values(), ids=SHAPED)
@pytest.mark.parametrize(
    "place",
    [
        lambda secret: {"note": secret},
        lambda secret: {"deep": [{"er": ["x", f"with {secret} inside"]}]},
        lambda secret: {secret: "as a key"},
        lambda secret: {"arguments": ["--with", secret]},
    ],
    ids=["value", "deep", "key", "argument"],
)
def test_what_looks_like_a_credential(secret: str, place: Any) -> None:
    assert secret not in dumped(place(secret)) and secret.split("\n")[-2:][0] not in dumped(place(secret))


@pytest.mark.parametrize(
    "setting",
    [
        {"password": PLAIN},
        {"DB_PASSWD": PLAIN},
        {"dbPwd": PLAIN},
        {"apiKey": PLAIN},
        {"api-key": PLAIN},
        {"accounts": {"access_key": {"value": PLAIN}}},
        {"tokens": [PLAIN, {"x": PLAIN}]},
        {"passphrase": 12345678},
        {"Authorization": PLAIN},
        {"header": f"Bearer {PLAIN}"},
        {"env": {"ANY": PLAIN}},
        {"environment": [f"ANY={PLAIN}"]},
        {"url": f"redis://:{PLAIN}/with@slash@host/0"},
        {"url": f"redis://:with@slash/{PLAIN}@host/0"},
        {"dsn": f"Server=db;User=x;Password={PLAIN};"},
        {"command": f"run --password {PLAIN} --fast"},
        {"command": f"run --api-key='{PLAIN}'"},
        {"argv": ["run", "--password", PLAIN]},
        {"argv": ["run", f"--token={PLAIN}"]},
        {"text": f'{{"client_secret": "{PLAIN}"}}'},
        {"password_file": PLAIN},
    ],
    ids=str,
)
def test_what_is_named_like_one(setting: dict[str, Any]) -> None:
    assert PLAIN not in dumped(setting) and "12345678" not in dumped(setting) and REDACTED in dumped(setting)


@pytest.mark.parametrize(
    "setting",
    [
        {"port": 7101, "required": True, "ratio": 0.5, "nothing": None},
        {"script_path": "agents/translation/tokenizer.py", "name": "EmotionEngine"},
        {"max_tokens": 4096, "token_ttl": 60, "password_required": True},
        {"password_file": "/etc/fleet/redis.password", "key_path": "./keys"},
        {"url": "http://127.0.0.1:8200/health?deep=1", "mail": "someone@example.org"},
        {"dependencies": ["ServiceRegistry", "CacheManager"]},
        {"description": "Keeps the keys of the cache, and a token is what it counts"},
    ],
    ids=str,
)
def test_what_is_none_is_shown(setting: dict[str, Any]) -> None:
    assert shown(setting) == setting


def test_only_the_credential_is_taken_out_of_a_text() -> None:
    assert shown_text(f"Server=db;Password={PLAIN};Timeout=5") == f"Server=db;Password={REDACTED};Timeout=5"
    assert shown_text(f"postgresql://me:{PLAIN}@db/orders") == f"postgresql://{REDACTED}@db/orders"
