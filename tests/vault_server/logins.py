# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Auth methods: AppRole, JWT, Kubernetes, TLS certificate, and user names with passwords."""

from __future__ import annotations

import base64
import json
import urllib.request
import uuid
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Optional

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from .engine import Call, Engine
from .kv import children
from .messages import Refusal, Reply, answer, missing, names, nothing, seconds, unsupported


class LoginMethod(Engine):
    """Roles, or users, are plain settings under ``kind/<name>``; every login ends in the same envelope."""

    kind = "role"

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.roles: dict[str, dict[str, Any]] = {}

    def is_login(self, path: str) -> bool:
        return path.partition("/")[0] == "login"

    @abstractmethod
    def login(self, call: Call, name: str) -> Reply: ...

    def handle(self, call: Call) -> Reply:
        head, _slash, rest = call.path.partition("/")
        if head == "login":
            if call.operation != "update":
                raise unsupported()
            return self.login(call, rest)
        if call.path == "config":
            if call.operation == "update":
                self.config.update(call.body)
                return nothing()
            return answer(self.config)
        if head != self.kind:
            raise missing()
        return self.manage(call, rest)

    def manage(self, call: Call, name: str) -> Reply:
        if call.operation == "list":
            return answer({"keys": children(self.roles, "")})
        if call.operation == "update":
            self.roles.setdefault(name, {}).update(call.body)
            return nothing()
        if call.operation == "delete":
            self.roles.pop(name, None)
            return nothing()
        if name not in self.roles:
            raise missing()
        return answer({key: value for key, value in self.roles[name].items() if key != "password"})

    def admit(self, call: Call, role: dict[str, Any], display_name: str, meta: dict[str, str]) -> Reply:
        token = call.store.create(
            names(role.get("token_policies") or role.get("policies")),
            f"{call.mount}login",
            ttl=seconds(role.get("token_ttl", 0) or role.get("ttl", 0)),
            explicit_max_ttl=seconds(role.get("token_explicit_max_ttl", 0)),
            num_uses=int(role.get("token_num_uses", 0)),
            period=seconds(role.get("token_period", 0)),
            renewable=True,
            meta=meta,
            display_name=display_name,
            namespace=call.namespace,
            entity_id=str(uuid.uuid4()),
        )
        return answer(None, auth=token.auth())


@dataclass
class SecretId:
    accessor: str
    role: str
    uses: int
    expires: Optional[float]


class AppRole(LoginMethod):
    def __init__(self) -> None:
        super().__init__()
        self.role_ids: dict[str, str] = {}
        self.secret_ids: dict[str, SecretId] = {}
        self.vanishing = False
        """A secret_id is taken away between the look-up and the use of it, as cleaning up may do."""

    def manage(self, call: Call, name: str) -> Reply:
        name, _slash, rest = name.partition("/")
        if not rest:
            if call.operation == "update":
                self.role_ids.setdefault(name, str(uuid.uuid4()))
            return super().manage(call, name)
        if name not in self.roles:
            raise missing() if call.operation == "read" else Refusal(400, f'role "{name}" does not exist')
        if rest == "role-id":
            if call.operation == "update":
                self.role_ids[name] = str(call.body["role_id"])
                return nothing()
            return answer({"role_id": self.role_ids[name]})
        if rest in ("secret-id", "custom-secret-id") and call.operation == "update":
            return self._new_secret_id(call, name)
        if rest == "secret-id/destroy" and call.operation == "update":
            self.secret_ids.pop(str(call.body.get("secret_id")), None)
            return nothing()
        raise unsupported()

    def _new_secret_id(self, call: Call, name: str) -> Reply:
        role = self.roles[name]
        ttl = seconds(role.get("secret_id_ttl", 0))
        uses = int(role.get("secret_id_num_uses", 0))
        secret_id = str(call.body.get("secret_id") or uuid.uuid4())
        entry = SecretId(str(uuid.uuid4()), name, uses, call.now + ttl if ttl else None)
        self.secret_ids[secret_id] = entry
        data = {"secret_id": secret_id, "secret_id_accessor": entry.accessor}
        return answer({**data, "secret_id_ttl": ttl, "secret_id_num_uses": uses})

    def login(self, call: Call, name: str) -> Reply:
        role_id, secret_id = str(call.body.get("role_id") or ""), str(call.body.get("secret_id") or "")
        if not role_id:
            raise Refusal(400, "missing role_id")
        role_name = next((name for name, known in self.role_ids.items() if known == role_id), None)
        if role_name is None or role_name not in self.roles:
            raise Refusal(400, call.profile.bad_role)
        if self.roles[role_name].get("bind_secret_id", True):
            self._use(call, role_name, secret_id)
        return self.admit(call, self.roles[role_name], "approle", {"role_name": role_name})

    def _use(self, call: Call, role: str, secret_id: str) -> None:
        if not secret_id:
            raise Refusal(400, "missing secret_id")
        entry = self.secret_ids.get(secret_id)
        if entry is None or entry.role != role or (entry.expires is not None and entry.expires <= call.now):
            raise Refusal(400, call.profile.bad_secret_id)
        if self.vanishing:
            raise Refusal(400, f'invalid secret_id "{secret_id}"')
        if entry.uses:
            entry.uses -= 1
            if not entry.uses:
                del self.secret_ids[secret_id]


class Jwt(LoginMethod):
    def login(self, call: Call, name: str) -> Reply:
        role_name = call.body.get("role") or self.config.get("default_role")
        if not role_name:
            raise Refusal(400, "missing role")
        role = self.roles.get(role_name)
        if role is None:
            raise Refusal(400, f'role "{role_name}" could not be found')
        if not call.body.get("jwt"):
            raise Refusal(400, "missing token")
        claims = verified(str(call.body["jwt"]), self.config.get("jwt_validation_pubkeys") or [], call.now)
        bound = names(role.get("bound_audiences"))
        audience = names(claims.get("aud"))
        if bound and not set(bound) & set(audience):
            raise Refusal(400, "error validating claims: aud claim does not match any bound audience")
        if role.get("bound_subject") and claims.get("sub") != role["bound_subject"]:
            raise Refusal(400, "error validating claims: sub claim does not match bound subject")
        user = claims.get(role.get("user_claim", "sub"), "")
        return self.admit(call, role, f"jwt-{user}", {"role": role_name})


class Kubernetes(LoginMethod):
    """Asks the API server of the cluster (``kubernetes_host``) whose token this is."""

    def login(self, call: Call, name: str) -> Reply:
        role_name, jwt = call.body.get("role"), str(call.body.get("jwt") or "")
        if not role_name:
            raise Refusal(400, "missing role")
        if not jwt:
            raise Refusal(400, "missing jwt")
        role = self.roles.get(role_name)
        if role is None:
            raise Refusal(400, f'invalid role name "{role_name}"')
        user = self._reviewed(jwt)
        _system, _kind, namespace, account = user.split(":")
        for bound, found, text in (
            (role.get("bound_service_account_namespaces"), namespace, "namespace not authorized"),
            (role.get("bound_service_account_names"), account, "service account name not authorized"),
        ):
            if found not in names(bound) and "*" not in names(bound):
                raise Refusal(403, text)
        meta = {"role": role_name, "service_account_name": account, "service_account_namespace": namespace}
        return self.admit(call, role, f"kubernetes-{namespace}-{account}", meta)

    def _reviewed(self, jwt: str) -> str:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": jwt}}
        request = urllib.request.Request(
            f"{self.config['kubernetes_host']}/apis/authentication.k8s.io/v1/tokenreviews",
            json.dumps(review).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.config.get('token_reviewer_jwt')}"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=5) as response:
                status = json.load(response).get("status") or {}
        except OSError:
            raise Refusal(403, "permission denied") from None
        if not status.get("authenticated"):
            raise Refusal(403, "permission denied")
        return str(status["user"]["username"])


class Certificate(LoginMethod):
    kind = "certs"

    def login(self, call: Call, name: str) -> Reply:
        if call.certificate is None:
            raise Refusal(400, "client certificate must be supplied")
        presented = x509.load_der_x509_certificate(call.certificate)
        wanted = call.body.get("name")
        for role_name, role in self.roles.items():
            if wanted not in (None, "", role_name):
                continue
            trusted = x509.load_pem_x509_certificates(str(role["certificate"]).encode())
            if any(_vouches(certificate, presented) for certificate in trusted):
                subject = presented.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
                common_name = str(subject[0].value) if subject else ""
                return self.admit(call, role, f"cert-{role_name}", {"cert_name": role_name, "common_name": common_name})
        raise Refusal(400, "invalid certificate or no client certificate supplied")


def _vouches(trusted: x509.Certificate, presented: x509.Certificate) -> bool:
    if trusted == presented:
        return True
    try:
        presented.verify_directly_issued_by(trusted)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


class Userpass(LoginMethod):
    kind = "users"
    refused = "invalid username or password"

    def login(self, call: Call, name: str) -> Reply:
        if "password" not in call.body:
            raise Refusal(400, "missing password")
        role = self.roles.get(name)
        if role is None or role["password"] != call.body["password"]:
            raise Refusal(400, self.refused)
        return self.admit(call, role, f"userpass-{name}", {"username": name})


class Ldap(Userpass):
    """The passwords are those of the users here: there is no directory behind it."""

    refused = "ldap operation failed: failed to bind as user"


METHODS = {
    "approle": AppRole,
    "jwt": Jwt,
    "kubernetes": Kubernetes,
    "cert": Certificate,
    "userpass": Userpass,
    "ldap": Ldap,
}


def verified(jwt: str, keys: list[str], now: float) -> dict[str, Any]:
    """The claims of a JWT that one of these public keys signed (RS256, ES256)."""
    try:
        header, payload, signature = jwt.split(".")
        algorithm = json.loads(_decoded(header))["alg"]
        claims = dict(json.loads(_decoded(payload)))
        signed = f"{header}.{payload}".encode()
        raw = _decoded(signature)
    except (ValueError, KeyError):
        raise Refusal(400, "error validating token: invalid JWT: compact JWS format must have three parts") from None
    if not any(_signed(key, algorithm, raw, signed) for key in keys):
        raise Refusal(400, "error validating token: error verifying token: no known key successfully validated it")
    if claims.get("exp", now + 1) <= now - 150:
        raise Refusal(400, "error validating token: invalid expiration time (exp) claim: token is expired")
    return claims


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _signed(pem: str, algorithm: str, signature: bytes, signed: bytes) -> bool:
    key = serialization.load_pem_public_key(pem.encode())
    try:
        if algorithm == "RS256" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            return True
        if algorithm == "ES256" and isinstance(key, ec.EllipticCurvePublicKey) and len(signature) == 64:
            both = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(*both), signed, ec.ECDSA(hashes.SHA256()))
            return True
    except InvalidSignature:
        return False
    return False
