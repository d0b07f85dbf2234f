# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a literal is that stands where a credential stands: one, a placeholder for one, or something else.

Every function takes the value and returns a word about it; none keeps, formats or raises it.
"""

from __future__ import annotations

import re
from typing import Optional

from .credential_names import CredentialName, credential_name, words

PLAIN, SAMPLE, ENCRYPTED = "plain", "sample", "encrypted"

SETTING, CODE, PROSE = "setting", "code", "prose"
"""Where a value stands, from the place where any word counts to the one where only a telling one does:
what configures something, what is written in a program, what is written for people."""

LONGEST = 2048

PLACEHOLDER = re.compile(r"^\$\{[A-Z][A-Z0-9_]{0,63}\}$")
"""The one form of a placeholder: whatever else stands in ``${…}`` may be the credential itself."""

_REFERENCE = re.compile(
    r"^\$?\$[({]?[A-Za-z_][\w.:]*[)}]?$|^\$\(|^`|^\\\(|^\$[0-9@*#?!]$|\{\{|\{%|<%|^%[A-Za-z_]\w*%$|%\(\w+\)|^%[sdrv]$"
    r"|^\$\{\{|^\$\{\w+:?[?+]|^\{[\w.!:\[\]()'\"]*\}$|^@[\w.]+@$|^__[A-Za-z_]+__$|^!(?:Ref|Sub|ImportValue|GetAtt|env|ENV|secret)\b"
    r"|^(?:env|file|vault|ssm|arn|op|keyring|secretsmanager|gcp|azurekv|ref\+\w+|awssm|secret|doppler|bws)[:/]"
    r"|^(?:process\.env|os\.environ|self|settings|config|secrets|vars?|local|data|module|ENV|env|args|opts|options|props|params|"
    r"request|req|ctx|context|this|app|state|inputs)(?:\.|\[)|^\$\{?(?:env|vars|secrets|\w+\.\w)|\{(?:[A-Za-z_][\w.]*|\d?)(?:![rs])?\}"
)
_CALL = re.compile(r"^[A-Za-z_][\w.]*\(.*\)?$|^(?:lambda|new|await|function)\b|=>|->")
_MASK = re.compile(
    r"^[*x•.\-_#?X ]+$|\*{3,}|•{3,}|REDACTED|redacted|\[(?:MASKED|HIDDEN|FILTERED|SECRET|TOKEN|PASSWORD|KEY)\]|^\(not shown\)"
)
_HASH = re.compile(
    r"^\$(?:2[abxy]?|1|5|6|y|argon2\w*|apr1|pbkdf2[\w-]*|scrypt|P|H)\$|^\{(?:S?SHA\d*|MD5|CRYPT|PBKDF2)[\w-]*\}"
    r"|^(?:pbkdf2|scrypt|argon2\w*|bcrypt)[:_$]|^(?:sha(?:1|256|384|512)|md5|blake2b)[-:=]|^SCRAM-SHA-",
    re.IGNORECASE,
)
_UUID = re.compile(r"^\{?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}?$", re.IGNORECASE)
_PATH = re.compile(
    r"^(?:~|\.{1,2}|[A-Za-z]:)?[/\\](?:[\w.{}$@-]+[/\\]){0,30}[\w.{}$@-]*$|^(?:[\w.-]+/)+[\w.-]+\.\w{1,5}$"
    r"|^[\w./-]+\.(?:pem|key|crt|cer|json|ya?ml|txt|env|ini|toml|conf|cfg|py|sh|md|log|db|sqlite|p12|pfx|jks|pub|csv|xml|html?|js|ts|age|gpg|enc)$"
)
_URL = re.compile(r"^[a-z][a-z0-9+.-]{1,15}://", re.IGNORECASE)
_PUBLIC_KEY = re.compile(
    r"^(?:ssh-(?:rsa|ed25519|dss)|ecdsa-sha2-\S+) |^-----BEGIN (?:PUBLIC KEY|CERTIFICATE|RSA PUBLIC)|^age1[0-9a-z]{20,}$"
)
_ENCRYPTED = re.compile(
    r"^(?:ENC\[|ENC\(|\$ANSIBLE_VAULT;|vault:v\d+:|-----BEGIN (?:AGE ENCRYPTED|PGP MESSAGE)|age-encryption\.org|kms:|gAAAAA|AQICAH|eyJjdCI6|!vault)"
)
_REGEX = re.compile(r"\\[wdsbWDSB.]|\[\^|\[[A-Za-z0-9]-[A-Za-z0-9]|\(\?[:=!iP<]|\.\*|\.\+|\]\{?\+?|\{\d+,\d*\}|\|\w+\|")
_SELECTOR = re.compile(r"^[#.][A-Za-z][\w-]*$|^(?:input|//)\W|^\[\w+=|^@\w+$|^--?[a-z][\w-]*$")
_HEADER = re.compile(r"^(?:[Xx]-[A-Za-z-]+|Authorization|Bearer|Basic|Cookie|[A-Z][a-z]+(?:-[A-Z][a-z]+)+)$")
_IDENTIFIER = re.compile(r"^[a-z]+(?:_[a-z]+)+$|^[A-Za-z][a-z]*(?:[A-Z]+[a-z]+)+$")
_VENDORS = words("aws azure gcp google github gitlab slack openai hub vault db database redis smtp mail")
_HEX_NUMBER = re.compile(r"^0[xX][0-9a-fA-F]{1,16}$")
_SECRET_PATH = re.compile(r"^[a-z][a-z_-]*(?:/[a-z][a-z_-]*)+$")
_LABEL = re.compile(r"^[A-Z][a-z]+$")
_NAME_OF_VARIABLE = re.compile(r"^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$")
_CONSTANT = re.compile(
    r"^(?:true|false|yes|no|on|off|none|null|nil|undefined|nan|required|optional|enabled?|disabled?|auto|default|unset|unknown|any|all"
    r"|str|string|bytes?|int|integer|float|bool|boolean|object|dict|list|array|text|number|secretstr|char|varchar\S*|optional\[.*|"
    r"union\[.*|list\[.*|dict\[.*|str ?\|.*|password|hidden|masked|empty|missing|present|absent|header|query|cookie|body|env|file|vault|"
    r"basic|bearer|digest|oauth2?|jwt|hs256|rs256|es256|apikey|token|secret|include|omit|same-origin|stdin|prompt|inherit|read|write|"
    r"anonymous|"
    r"not[-_ ]?(?:needed|set|configured|available|provided|found|applicable)|"
    r"no[-_ ]?(?:key|token|password|auth|secret)|not[-_ ]?required|not[-_ ]?used|n/?a|void|ignored?|unused|self|cls)$",
    re.IGNORECASE,
)
_SAMPLE = re.compile(
    r"^<.*>$|<[\w .-]+>|^\[[\w .-]+\]$|\.{3}|…|x{4,}|^x+$|\*{2,}"
    r"|(?:^|[-_ .:/<\[(])(?:your|dummy|fake|sample|todo|tbd|fixme|foo(?:bar)?|replace|insert|redacted|notreal|not[-_ ]?a?[-_ ]?real"
    r"|some[-_ ]?(?:secret|token|password|key)|enter|fill|put|my[-_](?:secret|token|password|api[-_]?key|key|pass))(?:$|[-_ .:/>\])!\d])"
    r"|your[-_ ]?(?:api|secret|token|pass|own|key|jwt|access)|example|placeholder|replace[-_ ]?(?:me|with|this)"
    r"|(?:^|[-_ ])(?:here|goes[-_ ]?here)$|change[-_ ]?(?:me|this|it)\b|^change[-_ ]|change[-_]?in[-_]?prod"
    r"|must[-_ ]be[-_ ](?:changed|set)|set[-_ ]?(?:me|this|in)\b|sk-no-key|no[-_]key[-_]required|lorem|deadbeef",
    re.IGNORECASE,
)
_MADE_UP_TOKEN = re.compile(r"example|placeholder|your|redacted|dummy|changeme|x{6,}|\.{3}|<|\*{3}", re.IGNORECASE)
_ONLY_CHANGE = re.compile(r"^(?:please[-_ ]?)?change[-_ ]?(?:me|this|it)?\w*[!\d]*$", re.IGNORECASE)
_CHANGE = re.compile(
    r"[-_ ]?(?:please[-_ ]?)?(?:change|replace)[-_ ]?(?:me|this|it)?(?:[-_ ]?(?:in|for|before)[-_ ]?\w{1,30}){0,2}!*$",
    re.IGNORECASE,
)
_TRIAL = re.compile(r"(?:^|[^a-z])(?:test|tests|testing|mock|mocked|stub|unittest|pytest)(?:$|[^a-z])", re.IGNORECASE)
_SEQUENCE = re.compile(r"0?123456|abc123|abcdef|qwerty|987654|11111|00000|aaaaa|(.)\1{5,}", re.IGNORECASE)
_VOCABULARY = words(
    "invalid expired missing required token tokens access refresh auth password passwords reset change user users api key keys "
    "secret secrets grant bearer type header basic id name client server error failed not found code authorization authentication "
    "credential credentials private public field input label login signin bot app session value refused denied revoked jwt value "
    "verify verification create update delete list get set rotate rotation validate generic manager service store provider and or "
    "the is are of for a to in with must be no"
)
_WEAK = words(
    "password passw0rd pass secret postgres admin root guest redis mysql mongo rabbitmq rabbit minio minioadmin letmein qwerty toor "
    "welcome test nats grafana elastic changeit"
)
_WORD = re.compile(r"[A-Za-z]+|[0-9]+")


def assess(value: str, name: CredentialName, place: str, *, fallback: bool = False) -> Optional[str]:
    """``plain``, ``sample`` or ``encrypted``; None where the value is no credential at all."""
    value = value.strip()
    if not value or len(value) > LONGEST:
        return None
    if _ENCRYPTED.match(value):
        return ENCRYPTED
    if name.kind == "authorization":
        return _authorization(value)
    if PLACEHOLDER.match(value) or _refers(value):
        return None
    if is_sample(value, trial=not fallback and name.kind != "password"):
        return PLAIN if fallback and _CHANGE.search(value) and _has_substance(value) else SAMPLE
    if value.isdigit():
        return PLAIN if name.kind == "password" and len(value) >= 4 and place != PROSE else None
    if " " in value and not _is_passphrase(value, name):
        return None
    return PLAIN if _strong_enough(value, name, place, fallback) else None


def is_sample(value: str, *, trial: bool = True) -> bool:
    """Made up to be replaced. ``trial`` counts what calls itself a test as well."""
    return bool(_SAMPLE.search(value) or (trial and _TRIAL.search(value)))


def is_made_up(token: str) -> bool:
    """The same for what has the form of a provider's token: letters drawn at random spell short words too."""
    return bool(_MADE_UP_TOKEN.search(token))


def is_template(value: str) -> bool:
    """Filled in, named or fetched elsewhere."""
    return bool(_REFERENCE.search(value) or _MASK.search(value))


def is_random(text: str, least: int = 16) -> bool:
    """Looks drawn, not written: enough different characters, of several kinds or all hexadecimal."""
    if len(text) < least or _SEQUENCE.search(text):
        return False
    kinds = sum(bool(re.search(kind, text)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    return len(set(text)) >= min(len(text) // 2, 10) and (kinds >= 2)


def _refers(value: str) -> bool:
    tests = (_SECRET_PATH, _HEX_NUMBER, _REFERENCE, _CALL, _HASH, _UUID, _PATH, _PUBLIC_KEY, _SELECTOR, _HEADER, _URL)
    return bool(
        _MASK.search(value) or any(test.search(value) for test in tests) or (_REGEX.search(value) and len(value) < 200)
    )


def _authorization(value: str) -> Optional[str]:
    scheme, _space, rest = value.partition(" ")
    if scheme.lower() in ("bearer", "basic", "token", "apikey", "bot") and rest:
        value = rest.strip()
    elif not is_random(value):
        return None
    if _refers(value) or " " in value or len(value) < 6:
        return None
    if is_sample(value):
        return SAMPLE
    return PLAIN if is_random(value, 8) or (re.search("[0-9]", value) and len(value) >= 8) or "-" in value else None


def _has_substance(value: str) -> bool:
    return (
        not _ONLY_CHANGE.match(value)
        and len(_WORD.findall(_CHANGE.sub("", value))) >= 2
        and "your" not in value.lower()
    )


def _is_passphrase(value: str, name: CredentialName) -> bool:
    parts = value.split(" ")
    return (
        name.words[-1] in ("passphrase", "password")
        and 2 <= len(parts) <= 8
        and value == value.lower()
        and not value.endswith((".", "?", "!", ":"))
        and not set(parts) & _VOCABULARY
    )


def _strong_enough(value: str, name: CredentialName, place: str, fallback: bool) -> bool:
    parts = [word.lower() for word in _WORD.findall(value)]
    if not parts and len(value) < 4:
        return False
    if name.vague and not (is_random(value) and sum(map(str.isdigit, value)) >= 3 and ":" not in value):
        return False
    has_digit = any(character.isdigit() for character in value)
    if _NAME_OF_VARIABLE.match(value) and (not has_digit or credential_name(value)):
        return False
    symbol = any(not character.isalnum() and character not in "-_. /:" for character in value)
    if place == PROSE:
        return (
            len(value) >= (6 if name.kind == "password" else 8)
            and (has_digit or symbol)
            and (is_random(value, 6) or _telling(value, has_digit, symbol))
        )
    if _is_own_name(value, parts, name, place, fallback):
        return False
    if place == CODE and not fallback and _names_another(value, name):
        return False
    if name.kind == "password":
        if place == CODE and not fallback and not has_digit and not symbol and set(parts) <= _VOCABULARY:
            return value in _WEAK and not name.constant
        shortest = 2 if place == SETTING and has_digit else 3
        return len(value) >= shortest and (value.lower() in _WEAK or not _CONSTANT.match(value))
    if _LABEL.match(value) and not fallback:
        return False
    if _CONSTANT.match(value):
        return fallback and value in _WEAK
    if fallback or place == SETTING:
        return len(value) >= (4 if fallback else 6) and (has_digit or symbol or len(parts) > 1 or len(value) >= 8)
    if set(parts) <= _VOCABULARY | set(name.words) and not has_digit:
        return False
    if name.kind == "secret":
        return len(value) >= 6 and (has_digit or symbol or len(value) >= 8)
    return len(value) >= 8 and (has_digit or symbol or "-" in value or "_" in value or len(value) >= 16)


def _telling(value: str, has_digit: bool, symbol: bool) -> bool:
    return len(value) >= 8 and has_digit and symbol


def _names_another(value: str, name: CredentialName) -> bool:
    """``ACCESS_KEY = "aws_access_key_id"``: an identifier that is itself called like a credential."""
    called = credential_name(value) or credential_name(value.replace("_id", ""))
    if called is None or not _IDENTIFIER.match(value):
        return False
    return name.kind != "secret" or (name.constant and set(called.words) <= _VOCABULARY | _VENDORS | set(name.words))


def _is_own_name(value: str, parts: list[str], name: CredentialName, place: str, fallback: bool) -> bool:
    """``TOKEN = "token"`` and ``"password": "Password"`` name a thing."""
    if fallback and name.kind in ("password", "secret"):
        return False
    plain = "".join(parts)
    if plain != "".join(name.words) and plain != name.words[-1]:
        return False
    if name.kind == "password" and value == value.lower():
        return place == CODE and name.constant
    return name.kind != "secret" or place == CODE or value != value.lower()
