# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What answers mean: every spelling that was seen in real fleets, and what must never pass for healthy."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.health.answers import MEANING, judge, judge_http


@pytest.mark.parametrize(
    ("word", "status", "ready"),
    [
        ("ok", "healthy", True),
        ("HEALTHY", "healthy", True),
        ("running", "healthy", True),
        ("online", "healthy", True),
        ("available", "healthy", True),
        ("success", "healthy", True),
        ("ready", "healthy", True),
        ("degraded", "degraded", True),
        ("initializing", "degraded", False),
        ("starting", "degraded", False),
        ("Not Ready", "degraded", False),
        ("error", "unhealthy", False),
        ("unhealthy", "unhealthy", False),
        ("unknown_action", "unknown", False),
        ("unknown-action", "unknown", False),
        ("purple", "unknown", False),
    ],
)
def test_words(word, status, ready):
    as_text = judge(word.encode())
    as_json = judge(json.dumps({"status": word}).encode())
    assert (as_text.status, as_text.ready) == (status, ready)
    assert (as_json.status, as_json.ready, as_json.word) == (status, ready, word)


@pytest.mark.parametrize(
    ("said", "status", "ready"),
    [
        ({"status": "ok", "ready": False}, "healthy", False),
        ({"status": "ok", "initialized": False}, "healthy", False),
        ({"status": "ok", "ready": "false"}, "healthy", False),
        ({"status": "success", "health_status": "unhealthy"}, "unhealthy", False),
        ({"status": "ok", "health_status": "initializing"}, "degraded", False),
        ({"status": "success", "data": {"status": "error"}}, "unhealthy", False),
        ({"status": "error", "message": "Unknown action: health_check"}, "unknown", False),
        ({"status": "error", "error": "redis is gone"}, "unhealthy", False),
        ({"status": True}, "healthy", True),
        ({"ready": True}, "healthy", True),
        ({"ready": False}, "degraded", False),
        ({"status": None}, "unknown", False),
        ({}, "unknown", False),
        ([], "unknown", False),
    ],
)
def test_documents(said, status, ready):
    answer = judge(json.dumps(said).encode())
    assert (answer.status, answer.ready) == (status, ready)


@pytest.mark.parametrize(
    ("code", "body", "status", "ready"),
    [
        (200, b"", "healthy", True),
        (200, b'{"agents": 3}', "healthy", True),
        (200, b'{"agents": 3, "ready": false}', "degraded", False),
        (200, b'{"status": "error"}', "unhealthy", False),
        (200, b'{"status": "unknown_action"}', "unknown", False),
        (204, b"", "healthy", True),
        (301, b"", "unknown", False),
        (302, b'{"status": "ok"}', "unknown", False),
        (401, b'{"status": "ok"}', "unknown", False),
        (404, b"healthy", "unknown", False),
        (429, b"", "unhealthy", False),
        (500, b'{"status": "ok"}', "unhealthy", False),
        (503, b'{"status": "initializing"}', "degraded", False),
        (503, b'{"status": "ok"}', "unhealthy", False),
    ],
)
def test_http(code, body, status, ready):
    answer = judge_http(code, body)
    assert (answer.status, answer.ready) == (status, ready)


@pytest.mark.parametrize(
    ("said", "errors"),
    [
        ({"status": "ok", "errors": 4}, 4),
        ({"status": "ok", "error_count": 0}, 0),
        ({"status": "ok", "errors": ["a", "b"]}, 2),
        ({"status": "ok", "metrics": {"error_count": 7}}, 7),
        ({"status": "ok", "errors": True}, None),
        ({"status": "ok", "errors": -1}, None),
        ({"status": "ok"}, None),
    ],
)
def test_error_counter(said, errors):
    assert judge(json.dumps(said).encode()).errors == errors


@given(st.binary(max_size=300))
def test_any_bytes_are_judged_and_only_known_words_are_healthy(body):
    answer = judge(body)
    assert answer.status in ("healthy", "degraded", "unhealthy", "unknown")
    if answer.status == "healthy":
        assert any(word.encode() in body.lower().replace(b" ", b"_").replace(b"-", b"_") for word in MEANING)


def test_deep_nesting_does_not_end_the_judge():
    assert judge(b"[" * 100_000).status == "unknown"
    assert judge(b'{"data":' * 5_000 + b"1" + b"}" * 5_000).status == "unknown"
