# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of modules that read secrets on the host."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  source:
    description:
      - Where values come from. The page C(docs/secrets.md) explains each.
    type: dict
    required: true
    suboptions:
      kind:
        description:
          - The kind of the source.
        type: str
        required: true
        choices: [age, sops, vault]
      file:
        description:
          - The encrypted file, on the host.
          - Required if O(source.kind=age) or O(source.kind=sops).
        type: path
      identity_files:
        description:
          - Files with private keys of age, on the host.
          - Required if O(source.kind=age) or O(source.kind=sops).
        type: list
        elements: path
      address:
        description:
          - The address of the Vault server, such as V(https://vault.example:8200).
          - Required if O(source.kind=vault).
        type: str
      namespace:
        description:
          - The namespace in Vault.
        type: str
      ca_file:
        description:
          - The authorities by which the server's certificate is checked; those of the system by default.
        type: path
      client_certificate_file:
        description:
          - The certificate that the host shows.
        type: path
      client_key_file:
        description:
          - The private key of O(source.client_certificate_file).
        type: path
      insecure:
        description:
          - The reason why certificates are not checked. It stands as a warning in every result.
        type: str
      redirects_to:
        description:
          - Addresses to which the server may redirect.
        type: list
        elements: str
      connect:
        description:
          - Seconds for one connection; 5 by default.
        type: float
      answer:
        description:
          - Seconds for one answer; 15 by default.
        type: float
      patience:
        description:
          - Seconds for all that is tried again in a task; 30 by default.
        type: float
      parallel:
        description:
          - How many connections at most; 8 by default.
        type: int
      mounts:
        description:
          - Names of mounts, and 1 or 2 for the version of their KV engine. Those that are not named are asked for.
        type: dict
      auth:
        description:
          - How the host proves to Vault who it is.
          - Required if O(source.kind=vault).
        type: dict
        suboptions:
          method:
            description:
              - The auth method.
            type: str
            required: true
            choices: [token, approle, jwt, kubernetes, cert, userpass, ldap]
          mount:
            description:
              - Where the method is mounted, when not under its own name.
            type: str
          token_file:
            description:
              - The file with the token.
              - Required if O(source.auth.method=token).
            type: path
          role_id_file:
            description:
              - The file with the role_id.
              - Required if O(source.auth.method=approle).
            type: path
          secret_id_file:
            description:
              - The file with the secret_id.
            type: path
          wrapped_secret_id_file:
            description:
              - The file with the token that unwraps the secret_id, once.
            type: path
          role:
            description:
              - The role, for V(approle) (of the wrapped secret_id), V(jwt) and V(kubernetes).
            type: str
          jwt_file:
            description:
              - The file with the JSON web token.
            type: path
          name:
            description:
              - The role of the certificate.
            type: str
          username:
            description:
              - The user, for V(userpass) and V(ldap).
            type: str
          password_file:
            description:
              - The file with the user's password.
            type: path
"""
