# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials that are known by their form, whatever they are called: the public formats of providers."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Iterator, Mapping, NamedTuple, Optional

from .literal_values import is_made_up, is_random

_START = r"(?<![A-Za-z0-9_])"
_END = r"(?![A-Za-z0-9])"
_B64 = r"[A-Za-z0-9_-]"

FORMATS: Mapping[str, tuple[str, str, str]] = {
    "aws-access-key": ("api_key", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}" + _END),
    "github-token": (
        "token",
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        r"(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})" + _END,
    ),
    "gitlab-token": (
        "token",
        "glpat- gldt- glrt- glcbt- glptt- glsoat- glft- glimt- glagent-",
        rf"gl(?:pat|dt|rt|cbt|ptt|soat|ft|imt|agent)-{_B64}{{20,64}}",
    ),
    "slack-token": (
        "token",
        "xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs- xapp-",
        r"(?:xox[abeoprs]-(?:[0-9]{6,14}-)?[A-Za-z0-9-]{10,200}|xapp-\d-[A-Z0-9]{8,}-\d{10,}-[a-f0-9]{32,})",
    ),
    "slack-webhook": (
        "url",
        "hooks.slack.com",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9]{6,}/[A-Za-z0-9]{6,}/[A-Za-z0-9]{16,}",
    ),
    "discord-webhook": ("url", "/api/webhooks/", rf"discord(?:app)?\.com/api/webhooks/[0-9]{{16,20}}/{_B64}{{50,80}}"),
    "teams-webhook": (
        "url",
        "webhook.office.com",
        r"webhook\.office\.com/webhookb2/[0-9a-f-]{36}@[0-9a-f-]{36}/IncomingWebhook/[0-9a-f]{32}",
    ),
    "stripe-key": (
        "api_key",
        "sk_live_ sk_test_ rk_live_ rk_test_ whsec_",
        r"(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,247}",
    ),
    "google-api-key": ("api_key", "AIza", rf"AIza{_B64}{{35}}(?![A-Za-z0-9_-])"),
    "google-oauth": ("token", "GOCSPX- ya29.", rf"(?:GOCSPX-{_B64}{{28}}|ya29\.{_B64}{{30,}})"),
    "anthropic-key": ("api_key", "sk-ant-", rf"sk-ant-(?:api|admin|oat)\d\d-{_B64}{{60,}}"),
    "openai-key": (
        "api_key",
        "sk-",
        rf"sk-(?:(?:proj|svcacct|admin|None)-{_B64}{{20,}}T3BlbkFJ{_B64}{{20,}}|(?:proj|svcacct|admin)-{_B64}{{40,}}"
        r"|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}|[A-Za-z0-9]{48}|[a-f0-9]{32}|or-v1-[a-f0-9]{64})" + _END,
    ),
    "huggingface-token": ("token", "hf_ api_org_", r"(?:hf_[A-Za-z0-9]{30,40}|api_org_[A-Za-z]{34})" + _END),
    "groq-key": ("api_key", "gsk_", r"gsk_[A-Za-z0-9]{48,56}"),
    "xai-key": ("api_key", "xai-", r"xai-[A-Za-z0-9]{70,90}"),
    "perplexity-key": ("api_key", "pplx-", r"pplx-[A-Za-z0-9]{40,56}"),
    "replicate-token": ("token", "r8_", r"r8_[A-Za-z0-9]{37,40}"),
    "tavily-key": ("api_key", "tvly-", r"tvly-(?:dev-|prod-)?[A-Za-z0-9]{24,40}"),
    "pinecone-key": ("api_key", "pcsk_", r"pcsk_[A-Za-z0-9_]{40,80}"),
    "langsmith-key": ("api_key", "lsv2_", r"lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}"),
    "nvidia-key": ("api_key", "nvapi-", rf"nvapi-{_B64}{{60,70}}"),
    "npm-token": ("token", "npm_", r"npm_[A-Za-z0-9]{36}" + _END),
    "pypi-token": ("token", "pypi-AgE", rf"pypi-AgE{_B64}{{50,}}"),
    "telegram-token": ("token", ":AA", rf"(?<!\d)[0-9]{{8,10}}:AA{_B64}{{33}}(?![A-Za-z0-9_-])"),
    "sendgrid-key": ("api_key", "SG.", rf"SG\.{_B64}{{22}}\.{_B64}{{43}}"),
    "twilio-key": ("api_key", "SK", r"SK[0-9a-f]{32}" + _END),
    "mailgun-key": ("api_key", "key-", r"key-[0-9a-f]{32}" + _END),
    "mailchimp-key": ("api_key", "-us", r"[0-9a-f]{32}-us[0-9]{1,2}" + _END),
    "digitalocean-token": ("token", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[a-f0-9]{64}"),
    "shopify-token": ("token", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    "square-token": ("token", "EAAA sq0", rf"(?:EAAA{_B64}{{60}}|sq0(?:atp|csp)-{_B64}{{22,43}})"),
    "vault-token": ("token", "hvs. hvb. hvr.", rf"hv[sbr]\.{_B64}{{24,200}}"),
    "terraform-token": ("token", ".atlasv1.", rf"[A-Za-z0-9]{{14}}\.atlasv1\.{_B64}{{60,70}}"),
    "databricks-token": ("token", "dapi", r"dapi[a-f0-9]{32}(?:-\d)?" + _END),
    "docker-token": ("token", "dckr_", rf"dckr_(?:pat|oat)_{_B64}{{27,40}}"),
    "grafana-token": ("token", "glsa_ glc_", r"(?:glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}|glc_[A-Za-z0-9+/=]{32,})"),
    "newrelic-key": ("api_key", "NRAK-", r"NRAK-[A-Z0-9]{27}"),
    "sentry-token": ("token", "sntrys_ sntryu_", r"sntry[su]_[A-Za-z0-9+/=_-]{40,}"),
    "linear-key": ("api_key", "lin_api_", r"lin_api_[A-Za-z0-9]{40}"),
    "notion-token": ("token", "secret_ ntn_", r"(?:secret_[A-Za-z0-9]{43}|ntn_[A-Za-z0-9]{40,50})" + _END),
    "atlassian-token": ("token", "ATATT3", r"ATATT3[A-Za-z0-9_=-]{180,}"),
    "azure-storage-key": ("api_key", "AccountKey=", r"AccountKey=[A-Za-z0-9+/]{86}=="),
    "age-identity": ("private_key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    "nats-seed": ("private_key", "SUA SAA SOA SNA SCA SXA", r"S[UANCOX]A[A-Z2-7]{55}" + _END),
    "tailscale-key": ("api_key", "tskey-", r"tskey-(?:auth|api|client)-[A-Za-z0-9]{10,}-[A-Za-z0-9]{20,}"),
    "json-web-token": ("token", "eyJ", rf"eyJ{_B64}{{10,}}\.eyJ{_B64}{{8,}}\.{_B64}{{16,}}"),
}
"""Rule to kind, the beginnings of which one must be there, and form."""

BEGINNINGS = tuple(beginning for _kind, beginnings, _form in FORMATS.values() for beginning in beginnings.split())

SHORTEST = 20
"""Characters of the shortest of them."""

_BEGINNING = re.compile("|".join(map(re.escape, BEGINNINGS)))
_FORMS = tuple(
    (rule, kind, tuple(beginnings.split()), re.compile(form if form.startswith("(?<") else _START + form))
    for rule, (kind, beginnings, form) in FORMATS.items()
)
_PREFIX = re.compile(r"^(?:[A-Za-z]{2,8}[-_])(?:[a-z0-9]{2,8}[-_])?")


class Token(NamedTuple):
    """Where in the line a token stands, and whether it is a made-up one."""

    rule: str
    kind: str
    start: int
    end: int
    sample: bool


def tokens(line: str) -> Iterator[Token]:
    """The tokens of a line, each once, the most telling form first."""
    if len(line) < SHORTEST or not _BEGINNING.search(line):
        return
    taken: list[tuple[int, int]] = []
    for rule, kind, beginnings, form in _FORMS:
        if not any(beginning in line for beginning in beginnings):
            continue
        for found in form.finditer(line):
            start, end = found.span()
            if any(start < other_end and other_start < end for other_start, other_end in taken):
                continue
            made_up = _made_up(found.group(), rule)
            if made_up is None:
                continue
            taken.append((start, end))
            yield Token(rule, kind, start, end, made_up)


def _made_up(text: str, rule: str) -> Optional[bool]:
    """None where the text only has the form, as an identifier may."""
    if rule == "json-web-token":
        return _is_web_token(text)
    body = _PREFIX.sub("", text)
    if is_made_up(text):
        return True
    if rule in (
        "nats-seed",
        "mailchimp-key",
        "twilio-key",
        "mailgun-key",
        "vault-token",
        "square-token",
        "notion-token",
    ):
        return None if not is_random(body, 20) else False
    return not (is_random(body, 12) or (rule == "aws-access-key" and len(set(body)) >= 9))


def _is_web_token(text: str) -> Optional[bool]:
    parts = []
    for part in text.split(".")[:2]:
        try:
            parts.append(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))
        except (binascii.Error, ValueError, RecursionError):
            return None
    if not all(isinstance(part, dict) for part in parts) or "alg" not in parts[0]:
        return None
    return any(
        isinstance(value, str) and value in ("John Doe", "1234567890", "test", "user", "example")
        for value in parts[1].values()
    )
