# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names of variables, keys, options and parameters are those of a credential.

A name is read as words (``dbPassword``, ``DB_PASSWORD`` and ``db-password`` are the same two), and its
end decides: ``api_token`` is a token, ``token_url`` is a URL.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, Optional


class CredentialName(NamedTuple):
    """``kind`` is one of ``password token secret api_key authorization``; ``plural`` names a collection
    of them; ``words`` is the name in lower case; ``constant`` says that it is written in capitals, ``vague`` that
    only what looks drawn is a credential under this name."""

    kind: str
    words: tuple[str, ...]
    plural: bool = False
    constant: bool = False
    vague: bool = False


def words(text: str) -> frozenset[str]:
    """A set of words from a text of them."""
    return frozenset(text.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_PASSWORD = re.compile(
    r"passw(?:or)?d$|passwort$|pass(?:phrase|code)$|pswd$|^(?:pwd|pw|psw|pass)$|^(?:requirepass|masterauth)$"
    r"|^(?:db|my|pg|user|admin|root|redis|smtp|mail|imap|ssh|ftp|sftp|sudo|http|proxy|login|mysql|mongo|rabbit|ftp|wifi)"
    r"(?:pass|pwd|pw)$"
)
_TOKEN = re.compile(r"token$|^(?:jwt|pat)$")
_SECRET = re.compile(r"secret(?:key)?$")
_API_KEY = re.compile(r"(?:api|access|secret|private|encrypt(?:ion)?|signing|auth|master)key$")

_KEYS_OF = words(
    "api access secret private encryption encrypt decryption signing sign signature auth authentication "
    "authorization master jwt hmac fernet aes cipher crypto subscription deploy ssh admin webhook shared openai "
    "anthropic claude gemini google gpt groq cohere mistral deepseek huggingface hf replicate elevenlabs deepgram "
    "pinecone weaviate qdrant azure aws gcp stripe twilio sendgrid github gitlab slack telegram discord tavily "
    "serp serpapi bing weather maps vault unseal rsa ecdsa ed25519 dd datadog sentry wandb langchain langsmith "
    "openrouter together perplexity xai flask django csrf vapid credential wrapping transit dek kek"
)
_KEYS_OF_MANY_THINGS = words(
    "account storage session service server client agent hub nats redis hash integration write read ingest backup "
    "cookie push root internal data security app application consumer bot"
)
"""What stands before ``key`` where the key is a credential (``cache_key`` and ``public_key`` are none), and
where it may be one: ``redis_key`` is more often the name of an entry."""

KEYS_OF = _KEYS_OF | _KEYS_OF_MANY_THINGS

_NOT_BEFORE = words(
    "no has have is are was use using uses require requires required need needs show hide display forgot forgotten "
    "reset change update set get fetch load read check validate generate create make build parse decode encode "
    "hash hashed encrypt encrypted invalid missing expired wrong bad incorrect unknown unauthorized revoked max min num "
    "total avg count skip ignore without public primary foreign enter confirm repeat retype mismatch"
)
"""``max_token``, ``reset_password``, ``has_secret``: questions, actions and numbers."""

_NOT_BEFORE_TOKEN = words(
    "n per pad padding eos bos unk sep cls mask special stop start begin end separator delimiter chunk image audio video "
    "text prompt completion vocab wake next prev previous input output pagination last first page continuation cursor sync "
    "cancel cancellation cancelled eot im pre suffix prefix middle fim think thinking control tool bpe sub lex lexer "
    "syntax word type"
)
"""``eos_token``, ``next_token``: parts of texts, and places in lists."""

_NOT_WHOLE = frozenset({"PWD", "OLDPWD", "pat", "PAT"})
_ENDS_WITHOUT_MEANING = frozenset(
    {"value", "default", "plain", "plaintext", "str", "string", "raw", "literal", "b64", "base64"}
)


@lru_cache(maxsize=20_000)
def credential_name(name: str) -> Optional[CredentialName]:
    """What kind of credential is called so, or None. Of a dotted name the last part counts."""
    if len(name) > 100 or name in _NOT_WHOLE:
        return None
    last = name.rstrip(".").rpartition(".")[2]
    parts = [word.lower() for word in _WORD.findall(last)]
    while parts and (parts[-1].isdigit() or (len(parts) > 1 and parts[-1] in _ENDS_WITHOUT_MEANING)):
        parts.pop()
    if not parts or last in _NOT_WHOLE:
        return None
    kind, plural = _kind(parts)
    not_before = _NOT_BEFORE | _NOT_BEFORE_TOKEN if kind == "token" else _NOT_BEFORE
    if kind is None or not not_before.isdisjoint(parts[:-1]):
        return None
    vague = parts[-1].startswith("key") and len(parts) > 1 and parts[-2] in _KEYS_OF_MANY_THINGS
    return CredentialName(kind, tuple(parts), plural, last.upper() == last, vague)


def _kind(parts: list[str]) -> tuple[Optional[str], bool]:
    kind = _kind_of_one(parts)
    if kind is not None:
        return kind, False
    if parts[-1].endswith("s") and len(parts[-1]) > 3:
        singular = [*parts[:-1], parts[-1][:-1]]
        kind = _kind_of_one(singular)
        # max_tokens, prompt_tokens: many tokens are mostly counted, unless they are said to open something
        if kind == "token" and not {"api", "auth", "access", "valid", "allowed", "bearer", "service", "admin"} & set(
            parts
        ):
            return None, False
        return kind, True
    return None, False


def _kind_of_one(parts: list[str]) -> Optional[str]:
    last = parts[-1]
    if last == "key":
        if len(parts) > 1 and parts[-2] in KEYS_OF:
            return "secret" if parts[-2] == "secret" else "api_key"
        return None
    if last in ("authorization", "bearer"):
        return "authorization"
    if last == "auth" and len(parts) > 1 and parts[-2] in ("basic", "proxy", "http", "redis", "requests"):
        return "authorization"
    if _PASSWORD.search(last):
        return "password"
    if _TOKEN.search(last):
        return "token"
    if _SECRET.search(last):
        return "secret"
    if _API_KEY.search(last):
        return "api_key"
    return "password" if last in ("credential", "creds") else None
