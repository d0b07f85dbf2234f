# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials in lines of text: settings, shell scripts, JSON, programs in other languages, prose.

A line is read for what it says by itself, so a file that is broken, a template, or half a file is
read like any other. Every pattern is linear, and no line is looked at beyond ``LONGEST_LINE``.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Iterator, Optional, Sequence

from .credential_names import CredentialName, credential_name
from .literal_values import CODE, PLAIN, PROSE, SAMPLE, SETTING, assess, is_random, is_sample, is_template
from .provider_tokens import tokens
from .scan_hits import Hit
from .telling_lines import is_telling

MOST_NAMES = 300
"""Names of credentials that are looked at in one line, or one piece of a huge one."""

LONGEST_LINE = 20_000
"""Characters; what follows is left to :func:`windows`."""

YAML, ENVIRONMENT, SHELL, JSON, PROGRAM, TEXT = "yaml", "environment", "shell", "json", "program", "text"
"""How values are written in a file."""

_PLACES = {YAML: SETTING, ENVIRONMENT: SETTING, SHELL: SETTING, JSON: SETTING, PROGRAM: CODE, TEXT: PROSE}

_NAMED = re.compile(
    r"(?<![\w$-])(?P<quote>\\?[\"'`])?(?P<name>[A-Za-z_][\w.-]{0,80})(?(quote)\\?[\"'`])\]?"
    r"\s{0,20}(?P<sign>:=|=>|===?|!==?|=|:)\s{0,20}(?=\S)"
)
_ANNOTATION = re.compile(r"[A-Za-z_][\w.]{0,30}(?:\[[\w., \[\]]{0,60}\])?(?:\s?\|\s?\w+)?\s?=\s?(?=[\"'bruFfS])")
_EXPRESSION = re.compile(r"\$\{(?P<name>[A-Za-z_]\w{0,80}|\d):?[-=](?P<value>[^{}$]{1,300})\}")
_VARIABLE = re.compile(r"^\$\{\w+(?::?[-=?+].*)?\}$")
_FILTER = re.compile(
    r"(?P<name>[A-Za-z_][\w.]{0,80})['\")\s]{0,5}\|\s*(?:default|d)\(\s*(?P<quote>['\"])(?P<value>[^'\"]{1,300})(?P=quote)"
)
_ASKED = re.compile(
    r"(?P<function>[A-Za-z_]\w{0,60})?\(\s*(?:[&*\w.]{1,40},\s*)?(?P<quote>[\"'])(?P<name>[A-Za-z_][\w.-]{0,80})(?P=quote)\s*,\s*"
    r"(?:\w{1,30}\s*=\s*)?(?P<other>[\"'])(?P<value>[^\"']{1,300})(?P=other)\s*[,)]"
)
_OTHERWISE = re.compile(
    r"(?P<name>[A-Za-z_][\w.-]{0,80})[\"'\])]{0,3}\s*(?:\|\||\?\?|\bor\b)\s*(?P<quote>[\"'])(?P<value>[^\"'\n]{1,300})(?P=quote)"
)
_ELEMENT = re.compile(
    r"<(?P<name>[A-Za-z][\w.-]{0,60})>\s{0,9}(?P<value>[^<>\s]{3,200})\s{0,9}</"
    r"|name=[\"'](?P<called>[\w.-]{1,60})[\"']\s{1,9}value=[\"'](?P<given>[^\"'<>]{3,200})[\"']"
)
_ASKING = re.compile(r"get|env|config|setting|option|default|param|secret|^pop$|^var$|^read|^arg|^field", re.IGNORECASE)
_OPTION = re.compile(
    r"(?<![\w-])--?(?P<name>[a-z][a-z-]{2,40})(?:=|\s+|[\"']\s*,\s*[\"'])(?P<quote>\\?[\"'])?(?P<value>[^\s\"'`;|&,)\\]{3,200})"
)
_COMMANDS = tuple(
    re.compile(form)
    for form in (
        r"\bsshpass\s+-p\s*(?P<quote>[\"']?)(?P<value>[^\s\"']{3,100})(?P=quote)",
        r"\bmysql(?:dump|admin)?\s[^|;&\n]{0,200}?\s-p(?P<quote>[\"']?)(?P<value>[^\s\"']{3,100})(?P=quote)",
        r"\bredis-cli\s[^|;&\n]{0,200}?-a\s+(?P<quote>[\"']?)(?P<value>[^\s\"']{3,100})(?P=quote)",
        r"\b(?:docker|podman|oras|helm)\s+(?:registry\s+)?login\s[^|;&\n]{0,200}?-p\s+(?P<quote>[\"']?)(?P<value>[^\s\"']{3,100})(?P=quote)",
        r"\bcurl\s[^|;&\n]{0,300}?-u\s*(?P<quote>[\"']?)[\w.@-]{1,60}:(?P<value>[^\s\"']{3,100})(?P=quote)",
        r"(?i:\bidentified\s+(?:with\s+\w+\s+)?by\s+|\b(?:role|user)\s[^;\n]{0,120}?\bpassword\s+)(?P<quote>['\"])(?P<value>[^'\"\n]{3,100})(?P=quote)",
        r"(?i:^\s*(?:requirepass|masterauth|user_password|sasl_password)\s+)(?P<quote>[\"']?)(?P<value>[^\s\"']{3,100})(?P=quote)\s*$",
        r"(?i:\bmachine\s+\S{1,100}\s+login\s+\S{1,100}\s+password\s+)(?P<quote>[\"']?)(?P<value>[^\s\"']{3,100})",
        r"\becho\s+(?:-n\s+)?(?P<quote>[\"']?)(?P<value>[^\s\"'|]{3,100})(?P=quote)\s*\|\s*(?:sudo\s+-S|passwd|docker\s+login)",
        r"\bgetConnection\(\s*\"jdbc:[^\"\n]{0,200}\"\s*,\s*\"[^\"\n]{0,100}\"\s*,\s*(?P<quote>\")(?P<value>[^\"\n]{3,100})\"",
        r"(?i:\bconvertto-securestring\s+(?:-string\s+)?)(?P<quote>[\"'])(?P<value>[^\"'\n]{3,100})(?P=quote)",
        r"\bchpasswd\s*<<<\s*(?P<quote>[\"']?)\w+:(?P<value>[^\s\"']{3,100})|\becho\s+[\"']?\w+:(?P<also>[^\s\"'|]{3,100})[\"']?\s*\|\s*chpasswd",
    )
)
_DOCKER_SPACE = re.compile(
    r"^\s*(?:ENV|LABEL)\s+(?P<name>[A-Za-z_]\w{0,80})\s+(?P<quote>[\"']?)(?P<value>[^\s\"'=]{3,200})(?P=quote)\s*$"
)
_HEADER = re.compile(
    r"(?i:authorization[\"']?\s{0,4}[:=,\s]\s{0,4}\\?[\"']?\s{0,4}(?P<scheme>bearer|basic|token|apikey|bot))\s+(?P<value>[A-Za-z0-9._~+/=:-]{6,2000})"
)
_NAMED_HEADER = re.compile(r"(?<![\w-])(?P<name>[Xx]-[\w-]{2,40}):\s{0,4}(?P<value>[^\s\"'$<{]{6,300})")
_ADDRESS = re.compile(
    r"(?<![\w.+-])(?P<scheme>[a-z][a-z0-9+.-]{1,30})://(?P<user>[^\s:/@\"'`<>{}$\\]{0,80}):(?P<value>[^\s/@\"'`\\]{1,200})@(?P<host>[^\s/\"'`]{0,200})"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN (?P<what>(?:[A-Z0-9]+ )*)PRIVATE KEY(?: BLOCK)?-----(?P<rest>.*)")
_KEY_BODY = re.compile(
    r"^[\s\"'+,\\nr#*|>]*(?:(?P<body>[A-Za-z0-9+/=]{20,})|(?P<header>Proc-Type|DEK-Info|Version|Comment|[A-Za-z-]+: ))"
)
_COMMENT = re.compile(r"^\s*(?:#(?!\{)|//|;|\*|--\s|<!--|REM\s)")
_SEALED = re.compile(r":\s*!vault\b|^\$ANSIBLE_VAULT;|ENC\[AES256_GCM,|-----BEGIN AGE ENCRYPTED FILE-----")
_PAIRS_OF_MANUALS = {"user", "username", "usr", "name", "login", "u", "me", "myuser", "dbuser", "someuser"}
_WORDS_OF_MANUALS = {
    "pass",
    "password",
    "passwd",
    "pwd",
    "pw",
    "secret",
    "mypassword",
    "mypass",
    "p",
    "dbpass",
    "somepass",
    "token",
}
_HOSTS_IN_USE = re.compile(
    r"^(?:localhost|127\.|10\.|172\.|192\.168\.|[a-z][\w-]*:\d)|^(?:db|postgres|redis|mysql|mongo|rabbitmq|nats|broker)\b"
)
_HOSTS_OF_MANUALS = re.compile(
    r"^(?:host|hostname|server|address|ip|domain|your\S*|.*example\.\w+|proxy|\.\.\.|addr|some\S*|url|)(?::|/|$)"
)


def find(lines: Sequence[str], numbers: Sequence[int], style: str) -> Iterator[Hit]:
    """Everything in the lines of these numbers (from 1); their neighbours are looked at where needed."""
    for number in numbers:
        text = lines[number - 1]
        for line in windows(text):
            yield from by_form(lines, number, line)
            comment = style not in (TEXT, JSON) and _COMMENT.match(line)
            yield from assignments(number, line, TEXT if comment else style)


def windows(text: str) -> Iterator[str]:
    """The line, or a huge one piece by piece, a little of each twice. Columns are then those of the piece."""
    if len(text) <= LONGEST_LINE:
        yield text
        return
    for start in range(0, len(text), LONGEST_LINE - 500):
        piece = text[start : start + LONGEST_LINE]
        if is_telling(piece):
            yield piece


def by_form(lines: Sequence[str], number: int, line: str) -> Iterator[Hit]:
    """What is known whatever the file: tokens of providers, keys, addresses with a password, headers."""
    for token in tokens(line):
        yield Hit(
            number,
            token.start,
            token.end,
            token.kind,
            token.rule,
            "",
            SAMPLE if token.sample else PLAIN,
            by_form=not token.sample,
        )
    if "://" in line:
        yield from addresses(number, line)
    if "-----BEGIN" in line:
        yield from _private_keys(lines, number, line)
    if "uthorization" in line or "UTHORIZATION" in line:
        yield from _headers(number, line)
    if "X-" in line or "x-" in line:
        yield from _named_headers(number, line)
    if "${" in line:
        yield from _expressions(number, line)
    sealed = _SEALED.search(line)
    if sealed:
        yield Hit(number, sealed.start(), sealed.end(), "secret", "encrypted", "", "encrypted")


def addresses(number: int, line: str) -> Iterator[Hit]:
    for found in _ADDRESS.finditer(line):
        state = _password_in_address(found["user"], found["value"], found["host"])
        if state:
            yield Hit(
                number, found.start("value"), found.end("value"), "password", "address-password", found["scheme"], state
            )


def _password_in_address(user: str, value: str, host: str) -> Optional[str]:
    if re.search(r"[{}$]|%[sdr(]|^\*+$|\[|\(", value) or "|" in value:
        return None
    if "[" in user:
        return None
    if is_sample(value, trial=False) or "<" in value or is_sample(user, trial=False):
        return SAMPLE
    if (
        value.lower() in _WORDS_OF_MANUALS
        and user.lower() in _PAIRS_OF_MANUALS
        and (_HOSTS_OF_MANUALS.match(host.lower()) or not _HOSTS_IN_USE.match(host.lower()))
    ):
        return SAMPLE
    return None if is_template(value) or is_template(user) else PLAIN


def _private_keys(lines: Sequence[str], number: int, line: str) -> Iterator[Hit]:
    for found in _PRIVATE_KEY.finditer(line):
        after = [found["rest"].replace("\\n", " ").replace("\\r", " "), *lines[number : number + 3]]
        body = next(
            (match for match in (_KEY_BODY.match(text.strip()) for text in after if text.strip(" \"'\\")) if match),
            None,
        )
        first = next((text for text in after if text.strip(" \"'\\,")), "")
        if body is None or _KEY_BODY.match(first.strip()) is None:
            state = SAMPLE if "..." in first else None
        elif "ENCRYPTED" in found["what"] or "ENCRYPTED" in first:
            state = "encrypted"
        else:
            state = SAMPLE if is_sample(first) else PLAIN
        if state:
            yield Hit(
                number, found.start(), found.end(), "private_key", "private-key", "", state, by_form=state == PLAIN
            )


def _headers(number: int, line: str) -> Iterator[Hit]:
    for found in _HEADER.finditer(line):
        value, scheme = found["value"].rstrip(".:"), found["scheme"].lower()
        state = _basic(value) if scheme == "basic" else assess(f"{scheme} {value}", _AUTHORIZATION, SETTING)
        if state:
            yield Hit(
                number,
                found.start("value"),
                found.end("value"),
                "authorization",
                "authorization-header",
                "authorization",
                state,
            )


def _named_headers(number: int, line: str) -> Iterator[Hit]:
    for found in _NAMED_HEADER.finditer(line):
        name = credential_name(found["name"])
        if name:
            yield from _one(_assessed(number, line, *found.span("value"), name, CODE, "authorization-header"))


def _basic(value: str) -> Optional[str]:
    try:
        decoded = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(":")
    if not colon or not password or not decoded.isprintable():
        return None
    return SAMPLE if is_sample(decoded) or (user in _PAIRS_OF_MANUALS and password in _WORDS_OF_MANUALS) else PLAIN


def _expressions(number: int, line: str) -> Iterator[Hit]:
    for found in _EXPRESSION.finditer(line):
        name = credential_name(found["name"]) or _name_before(line, found.start())
        if name:
            hit = _assessed(
                number, line, found.start("value"), found.end("value"), name, SETTING, "expression-default", True
            )
            if hit:
                yield hit


def _name_before(line: str, column: int) -> Optional[CredentialName]:
    before = list(_NAMED.finditer(line[max(0, column - 200) : column] + "x"))
    return credential_name(before[-1]["name"]) if before else None


def assignments(number: int, line: str, style: str) -> Iterator[Hit]:
    """What a line gives to something that is called like a credential."""
    place = _PLACES[style]
    taken = named = 0
    for found in _NAMED.finditer(line):
        name = credential_name(found["name"]) if found.start() >= taken else None
        if name is None:
            continue
        named += 1
        if named > MOST_NAMES:
            break
        sign = found["sign"]
        annotated = _ANNOTATION.match(line, found.end()) if sign == ":" and style in (PROGRAM, TEXT) else None
        span = _value(line, annotated.end() if annotated else found.end(), style, found)
        if span is None:
            continue
        rule = "comparison" if sign in _COMPARING else "default-value" if annotated else "assigned-value"
        hit = _assessed(number, line, *span, name, place, rule, annotated is not None)
        if hit and not (rule == "comparison" and hit.state == SAMPLE):
            taken = span[1]
            yield hit
    if style in (PROGRAM, TEXT) and ("</" in line or "value=" in line):
        for found in _ELEMENT.finditer(line):
            name = credential_name(found["name"] or found["called"])
            if name:
                span = found.span("value" if found["value"] else "given")
                yield from _one(_assessed(number, line, *span, name, place, "assigned-value"))
    yield from _fallbacks(number, line, style)
    yield from on_command_lines(number, line, style)


def _fallbacks(number: int, line: str, style: str) -> Iterator[Hit]:
    if style in (TEXT, PROGRAM):
        for found in _ASKED.finditer(line):
            name = credential_name(found["name"])
            if name and _ASKING.search(found["function"] or ""):
                yield from _one(_assessed(number, line, *found.span("value"), name, SETTING, "default-value", True))
        for found in _OTHERWISE.finditer(line):
            name = credential_name(found["name"])
            if name and not is_template(found["value"]):
                yield from _one(_assessed(number, line, *found.span("value"), name, CODE, "default-value", True))
    if "default(" in line or "| d(" in line:
        for found in _FILTER.finditer(line):
            name = credential_name(found["name"]) or _name_before(line, found.start())
            if name:
                yield from _one(
                    _assessed(number, line, *found.span("value"), name, SETTING, "expression-default", True)
                )


def on_command_lines(number: int, line: str, style: str) -> Iterator[Hit]:
    """Options and arguments of programs, as a shell or a list has them."""
    if "-" in line:
        for found in _OPTION.finditer(line):
            name = credential_name(found["name"])
            value = found["value"]
            if name and not value.startswith(("-", "$", "%", "<", "{", "[", "=")) and "=" not in value[:1]:
                place = PROSE if style == TEXT else CODE if found["quote"] is None and style != SHELL else SETTING
                yield from _one(_assessed(number, line, *found.span("value"), name, place, "command-argument"))
    words = line.translate(_LIST_TO_WORDS) if '"-' in line or "'-" in line else line
    for form in _COMMANDS:
        for found in form.finditer(words):
            group = "value" if found["value"] else "also"
            yield from _one(_assessed(number, line, *found.span(group), _PASSWORD, SETTING, "command-argument"))
    space = _DOCKER_SPACE.match(line) if style == SHELL else None
    if space:
        name = credential_name(space["name"])
        if name:
            yield from _one(_assessed(number, line, *space.span("value"), name, SETTING, "assigned-value"))


_COMPARING = ("==", "===", "!=", "!==")
_LIST_TO_WORDS = str.maketrans(dict.fromkeys("[]\"',", " "))
"""``["redis-cli", "-a", …]`` as one would type it; columns stay."""
_AUTHORIZATION = CredentialName("authorization", ("authorization",))
_PASSWORD = CredentialName("password", ("password",))


def _one(hit: Optional[Hit]) -> tuple[Hit, ...]:
    return (hit,) if hit else ()


def _assessed(
    number: int, line: str, start: int, end: int, name: CredentialName, place: str, rule: str, fallback: bool = False
) -> Optional[Hit]:
    value = line[start:end]
    if "${" in value and rule != "expression-default":
        inside = value[2:].rstrip("}")
        if not value.startswith("${") or (_VARIABLE.match(value) and not is_random(inside, 20)):
            return None
        value = inside
    state = assess(value, name, place, fallback=fallback)
    if state is None:
        return None
    return Hit(number, start, end, name.kind, rule, "_".join(name.words), state, fallback)


def _value(line: str, start: int, style: str, found: re.Match[str]) -> Optional[tuple[int, int]]:
    """Where the value that begins at ``start`` stands, without its quotes; None where none is written out."""
    sign = found["sign"]
    wrapper = {PROGRAM: _WRAPPED, YAML: _DECORATED}.get(style)
    wrapped = wrapper.match(line, start) if wrapper else None
    quoted = _QUOTED.match(line, wrapped.end() if wrapped else start)
    if quoted:
        if quoted["escaped"]:
            return quoted.span("inner")
        if quoted["triple"] or ("f" in quoted["prefix"].lower() and "{" in quoted["value"]):
            return None
        if style == SHELL and sign != "=" and not found["quote"]:
            return None
        after = line[quoted.end() : quoted.end() + 12].lstrip()
        if (
            style in (PROGRAM, TEXT)
            and after.startswith(("%", ".format", ".join", "+"))
            and not after.startswith(("+=",))
        ):
            return None if not after.startswith("+") else quoted.span("value")
        return quoted.span("value")
    before = line[found.start() - 1 : found.start()]
    if before in ("'", '"') and not found["quote"] and sign == "=":
        end = line.find(before, start)
        return (start, end) if end > start else None
    bare = _BARE[TEXT if style == JSON and sign == "=" else style]
    if bare is None:
        return None
    if style == SHELL and (sign != "=" or line[found.end() - 1 : found.end()].isspace()):
        return None
    if style == YAML:
        if sign == ":" and not line[found.end() - 1 : found.end()].isspace():
            return None
        start = wrapped.end() if wrapped else start
        if line[start : start + 1] in "{[&*>|":
            return None
    if style in (YAML, ENVIRONMENT) and ("{" in line[:start] or "[" in line[:start]):
        bare = _IN_FLOW
    if style == TEXT and sign == ":" and not found["quote"] and line[start - 1 : start] != " ":
        return None
    match = bare.match(line, start)
    if not match:
        return None
    end = match.end()
    while end > start and line[end - 1] in (
        " \t," if style in (YAML, ENVIRONMENT) else ".,;:)" if style == TEXT else "\t "
    ):
        end -= 1
    return (start, end) if end > start else None


_QUOTED = re.compile(
    r"(?P<prefix>[bBrRuUfF@]{0,2})(?:(?P<triple>\"\"\"|''')|(?P<escaped>\\[\"'])(?P<inner>(?:(?!\\[\"']).){0,2000})(?P=escaped)"
    r"|(?P<quote>[\"'`])(?P<value>(?:\\.|(?!(?P=quote))[^\\]){0,2000})(?P=quote))"
)
_WRAPPED = re.compile(
    r"(?:\[\]byte|&?str(?:ing)?|String|SecretStr|bytes|Buffer\.from|new \w{1,30}|b64decode|[Ff]ield)\(\s*(?:default\s?=\s?)?(?=[\"'])"
)
_DECORATED = re.compile(r"(?:(?:&[\w-]{1,60}|!!\w{1,20})\s{1,4}){1,2}")
_NUMBER = re.compile(r"\d{4,20}(?=\s*(?:[,;)}#]|$))")
_IN_FLOW = re.compile(r"[^,}\]#\s][^,}\]#]{0,300}")
_BARE = {
    YAML: re.compile(r"(?:(?! #).){1,600}"),
    ENVIRONMENT: re.compile(r"(?:(?!\s[#;]).){1,600}"),
    SHELL: re.compile(r"(?:\\.|[^\s;&|<>()\"'`\\]){1,600}"),
    JSON: _NUMBER,
    PROGRAM: _NUMBER,
    TEXT: re.compile(r"[^\s\"'`,;<>()]{3,300}"),
}
