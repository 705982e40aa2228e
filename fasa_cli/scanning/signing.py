"""Ed25519 signatures of files: who answers for a scan or a bundle, checked by any other tool.

A signature is the 64 raw bytes of RFC 8032 over the file's bytes, in a file beside it:

    openssl genpkey -algorithm ed25519 -out key.pem
    openssl pkey -in key.pem -pubout -out public.pem
    openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in run.json -sigfile run.json.sig
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fasa_cli.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SUFFIX = ".sig"
PASSWORD = "FASA_KEY_PASSWORD"  # the environment variable for that of a protected key
_HOW = "make one with: openssl genpkey -algorithm ed25519 -out key.pem"


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key in PEM (PKCS #8) or OpenSSH form.

    Raises:
        ConfigError: no such file, no Ed25519 key, or a password that is missing or wrong.
    """
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = _read(path)
    is_ssh = b"OPENSSH PRIVATE KEY" in data
    load = serialization.load_ssh_private_key if is_ssh else serialization.load_pem_private_key
    word = os.environ.get(PASSWORD)
    try:
        try:
            key = load(data, None)
        except (ValueError, TypeError):
            if not word:
                raise
            key = load(data, word.encode())
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path}: not a private key that can be read ({error}); {_HOW}. The password of a "
            f"protected one is taken from the environment variable {PASSWORD}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: not an Ed25519 key; {_HOW}")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key in PEM or OpenSSH form.

    Raises:
        ConfigError: no such file, or no public Ed25519 key.
    """
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data = _read(path)
    try:
        if data.startswith(b"ssh-"):
            key = serialization.load_ssh_public_key(data)
        else:
            key = serialization.load_pem_public_key(data)
    except (ValueError, TypeError) as error:
        cure = "name the public key: openssl pkey -in key.pem -pubout -out public.pem"
        raise ConfigError(f"{path}: not a public key that can be read ({error}); {cure}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path}: not an Ed25519 key; {_HOW}")
    return key


def is_signed_by(key: Ed25519PublicKey, data: bytes, signature: bytes) -> bool:
    """Whether a signature is that of `data` by the owner of `key`."""
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def signature_path(path: Path) -> Path:
    """Where the signature of a file lies: beside it."""
    return path.with_name(path.name + SUFFIX)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this key ({error.strerror})") from error


def _serialization():  # type: ignore[no-untyped-def]
    try:
        from cryptography.hazmat.primitives import serialization
    except ModuleNotFoundError as error:
        raise ConfigError(
            "signatures need the library cryptography; install fasa-cli[signing]"
        ) from error
    return serialization
