# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Who may ask a policy server: its address, its token, its certificate."""

from __future__ import annotations

import hmac
import ipaddress
import os
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vla_adapter_ros.errors import ServerError
from vla_adapter_ros.server.protocol import DEFAULT_PORT, TOKEN_VARIABLE

_LEAST_TOKEN_LENGTH = 16


@dataclass(frozen=True)
class Access:
    """Where a server listens, and whom it answers.

    Attributes:
        host: address to listen on.
        port: TCP port; 0: any free one.
        token: what clients must send as `Authorization: Bearer TOKEN`; '': nothing. openpi's
            clients send it as `Api-Key TOKEN`.
        certificate, key: files (PEM) for TLS; '': without.

    Raises:
        ServerError: other machines could ask it without a token, or the token is short.
    """

    host: str = '127.0.0.1'
    port: int = DEFAULT_PORT
    token: str = ''
    certificate: str = ''
    key: str = ''

    def __post_init__(self) -> None:
        if not self.token and not self.is_local:
            raise ServerError(
                f'host {self.host}: other machines could ask this server; set the environment '
                f'variable {TOKEN_VARIABLE} to the same secret here and for the clients'
            )
        if self.token and (len(self.token) < _LEAST_TOKEN_LENGTH or not self.token.isascii()):
            raise ServerError(
                f'{TOKEN_VARIABLE}: expected at least {_LEAST_TOKEN_LENGTH} ASCII characters; '
                "`python3 -c 'import secrets; print(secrets.token_urlsafe())'` makes one"
            )
        if bool(self.certificate) != bool(self.key):
            raise ServerError('certificate and key: expected both files or none')

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can connect."""
        if self.host == 'localhost':
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def warning(self) -> str:
        """What is not safe, or ''."""
        if self.is_local or self.certificate:
            return ''
        return (
            f'host {self.host} without certificate and key: images, instructions, actions and the '
            'token cross the network unencrypted, and somebody on it could change them'
        )

    def allows(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request may be answered; compares in constant time."""
        if not self.token:
            return True
        scheme, _, given = headers.get('Authorization', '').partition(' ')
        right = hmac.compare_digest(given.strip().encode(), self.token.encode())
        return scheme.lower() in ('bearer', 'api-key') and right

    def tls(self) -> ssl.SSLContext | None:
        """Return the context of the server's side, or None. Raises ServerError."""
        if not self.certificate:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(Path(self.certificate), Path(self.key))
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ServerError(
                f'certificate {self.certificate}, key {self.key}: cannot be used: {error}'
            ) from None
        return context


def token_of_environment() -> str:
    """Return the token that server and clients share, or ''."""
    return os.environ.get(TOKEN_VARIABLE, '').strip()


def check_libraries() -> None:
    """Raise ServerError where msgpack or a websockets that is new enough is missing."""
    try:
        import msgpack  # noqa: F401
        import websockets.asyncio.server  # since 13  # noqa: F401
    except ImportError as error:
        raise ServerError(
            f'{error}: run `{sys.executable} -m pip install -r requirements/server.txt`'
        ) from None
