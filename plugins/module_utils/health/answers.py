# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent's answer means: its word, looked up in one table (pure)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Iterator, Optional

WORDS: dict[tuple[str, bool], str] = {
    ("healthy", True): "ok okay healthy running online available success succeeded ready up active alive operational "
    "pass passed passing green good normal serving connected pong idle started completed true 200",
    ("degraded", True): "degraded warning warn partial partially_healthy yellow limited impaired busy overloaded slow",
    ("degraded", False): "initializing initialising starting start_pending loading warming warming_up "
    "booting pending not_ready waiting standby paused maintenance draining stopping shutting_down",
    ("unhealthy", False): "error errored unhealthy fail failed failing failure down critical offline unavailable fatal "
    "dead stopped red crashed disconnected not_serving out_of_service unreachable timeout false 500 503",
    ("unknown", False): "unknown unknown_action unknown_command unknown_request invalid_action invalid_request "
    "unsupported not_implemented none null",
}
"""(status, ready) to the words that mean it; a word is compared in lower case with _ between its parts."""

MEANING = {word: meaning for meaning, words in WORDS.items() for word in words.split()}

RANK = {"healthy": 0, "degraded": 1, "unhealthy": 2}
"""An answer that says several things means the worst of them; unknown counts only when it is alone."""

STATUS_KEYS = ("health_status", "status", "health", "state", "overall_status")
INNER_KEYS = ("data", "result", "response", "payload", "health")
ERROR_KEYS = ("errors", "error_count")
ERROR_PLACES = ("metrics", "stats", "health_details")
READY_KEYS = ("ready", "initialized", "is_ready", "is_initialized")
NOT_UNDERSTOOD = re.compile(
    r"(?i)(unknown|invalid|unsupported|unrecogni[sz]ed)\s+(action|command|request|message|verb)"
)


@dataclass(frozen=True)
class Answer:
    """What was said. ``status`` is ``healthy degraded unhealthy unknown``; ``word`` is as it stood."""

    status: str
    ready: bool
    word: str = ""
    errors: Optional[int] = None
    message: str = ""


def judge(body: bytes, otherwise: tuple[str, bool] = ("unknown", False)) -> Answer:
    """An answer without anything around it (ZeroMQ, a command): JSON, or text that begins with a word.

    ``otherwise`` is the (status, ready) of an answer that says nothing that the table knows.
    """
    text = body.decode("utf-8", "replace").strip()
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = text
    if isinstance(said, dict):
        return _judge_document(said, otherwise)
    if isinstance(said, (str, bool, int)):
        return _judge_text(str(said), otherwise)
    return Answer(*otherwise, message="neither a JSON object nor a word")


def judge_http(code: int, body: bytes) -> Answer:
    """An HTTP answer: the body's word where it has one, and never better than the code allows."""
    if 200 <= code < 300:
        return judge(body, otherwise=("healthy", True))
    said = judge(body)
    if code in (429, 503) and said.status in ("degraded", "unhealthy"):
        return Answer(said.status, False, said.word, said.errors, f"HTTP {code}")
    if code >= 500 or code == 429:
        return Answer("unhealthy", False, said.word or str(code), said.errors, f"HTTP {code}")
    return Answer("unknown", False, said.word or str(code), said.errors, f"HTTP {code}: this is no health endpoint")


def _judge_document(said: dict[str, Any], otherwise: tuple[str, bool]) -> Answer:
    words = list(_words(said))
    known = [MEANING[_word(word)] for word in words if _word(word) in MEANING]
    telling = [meaning for meaning in known if meaning[0] != "unknown"]
    flags = [_is_true(said[key]) for key in READY_KEYS if key in said]
    errors = _errors(said)
    shown = " ".join(dict.fromkeys(words))[:80]
    explained = " ".join(str(said.get(key, "")) for key in ("message", "error"))[:400]
    if telling:
        status, ready = max(telling, key=_rank)
        if status == "unhealthy" and NOT_UNDERSTOOD.search(explained):
            return Answer("unknown", False, shown, errors, "it does not know this request")
        return Answer(status, ready and all(flags), shown, errors)
    if known:
        return Answer("unknown", False, shown, errors, explained)
    if flags and not words:
        return Answer(
            "healthy" if all(flags) else "degraded", all(flags), "ready" if all(flags) else "not ready", errors
        )
    status, ready = otherwise
    message = "a word that no table knows" if words else "the JSON object says no status"
    return Answer(status, ready and all(flags), shown, errors, message)


def _judge_text(text: str, otherwise: tuple[str, bool]) -> Answer:
    for candidate in (text, re.split(r"[\s:;,.!]+", text, maxsplit=1)[0]):
        if candidate and _word(candidate) in MEANING:
            status, ready = MEANING[_word(candidate)]
            return Answer(status, ready, candidate[:80])
    return Answer(*otherwise, text[:80], message="a word that no table knows" if text else "an empty answer")


def _words(said: dict[str, Any], depth: int = 0) -> Iterator[str]:
    for key in STATUS_KEYS:
        if isinstance(said.get(key), (str, bool, int)):
            yield str(said[key])
    for key in INNER_KEYS:
        inner = said.get(key)
        if isinstance(inner, dict) and depth < 2:
            yield from _words(inner, depth + 1)


def _errors(said: dict[str, Any]) -> Optional[int]:
    places = [said, *(said[key] for key in ERROR_PLACES if isinstance(said.get(key), dict))]
    for place in places:
        for key in ERROR_KEYS:
            count = place.get(key)
            if isinstance(count, list):
                return len(count)
            if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
                return count
    return None


def _rank(meaning: tuple[str, bool]) -> tuple[int, bool]:
    status, ready = meaning
    return RANK[status], not ready


def _word(text: str) -> str:
    return re.sub(r"[\s_\-]+", "_", text.strip().lower()) or "none"


def _is_true(value: Any) -> bool:
    return _word(value) not in ("false", "no", "none", "0") if isinstance(value, str) else bool(value)
