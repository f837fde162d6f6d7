"""Keys that sign: PEM files, and their public halves in JSON (JWK), as JSF has them in a signature."""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from components.errors import UserError
from pipeline.lineage.export.canonical import to_canonical

PASSPHRASE_VARIABLE = "LINEAGE_SIGN_PASSPHRASE"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
# By name in the cryptography package: name in JWK, algorithm, bytes of a coordinate.
CURVES = {
    "secp256r1": ("P-256", "ES256", 32),
    "secp384r1": ("P-384", "ES384", 48),
    "secp521r1": ("P-521", "ES512", 66),
}
_SMALLEST_RSA_BITS = 2048
_KEY_RULE = "an RSA key of 2,048 bits or more, an EC key on P-256, P-384 or P-521, an Ed25519 or an Ed448 key"


class InvalidKeyError(Exception):
    """A key or value in a document is not what its form asks for."""


def load_private_key(path: str) -> PrivateKey:
    """Returns the private key of a PEM file; its passphrase, if it has one, is in the environment.

    Raises:
        UserError: The file cannot be read, is no such key, or the passphrase is missing or wrong.
    """
    content = _read(path, "--sign-key")
    passphrase = os.environ.get(PASSPHRASE_VARIABLE)
    try:
        key = serialization.load_pem_private_key(content, passphrase.encode() if passphrase else None)
    except TypeError as error:
        # The package's way to say that a passphrase is missing, or given for a key that has none.
        has_one = f"has no passphrase, and {PASSPHRASE_VARIABLE} is set: unset it"
        missing = f"has a passphrase, which must be in the environment variable {PASSPHRASE_VARIABLE}"
        raise UserError(f"the key {path} {has_one if passphrase else missing}.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        wrong = f", or the passphrase in {PASSPHRASE_VARIABLE} is wrong" if passphrase else ""
        raise UserError(
            f"--sign-key must be a private key in PEM: {_KEY_RULE}. {path} is none{wrong}. "
            "Make one with: openssl genpkey -algorithm ed25519 -out key.pem"
        ) from error
    if not isinstance(key, PrivateKey) or not _is_strong(key.public_key()):
        raise UserError(f"--sign-key must be {_KEY_RULE}. Received: another kind of key ({path}).")
    return key


def load_public_key(path: str) -> PublicKey:
    """Returns the public key of a PEM file.

    Raises:
        UserError: The file cannot be read, or is no such key.
    """
    try:
        key = serialization.load_pem_public_key(_read(path, "--public-key"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UserError(
            f"--public-key must be a public key in PEM: {_KEY_RULE}. {path} is none. "
            "Take it from a private key with: openssl pkey -in key.pem -pubout"
        ) from error
    if not isinstance(key, PublicKey) or not _is_strong(key):
        raise UserError(f"--public-key must be {_KEY_RULE}. Received: another kind of key ({path}).")
    return key


def choose_algorithm(key: PublicKey) -> str:
    """Returns the algorithm that a key signs with (JWA's name, as JSF has it)."""
    if isinstance(key, rsa.RSAPublicKey):
        return "RS256"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return CURVES[key.curve.name][1]
    return "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "Ed448"


def _is_strong(key: PublicKey) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= _SMALLEST_RSA_BITS
    return not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name in CURVES


def to_jwk(key: PublicKey) -> dict[str, str]:
    """Returns a key in JSON (JWK, RFC 7517), with the members that its thumbprint is of."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        pair = {name: n.to_bytes((n.bit_length() + 7) // 8, "big") for name, n in (("n", numbers.n), ("e", numbers.e))}
        return {"kty": "RSA"} | {name: encode(content) for name, content in pair.items()}
    if isinstance(key, ec.EllipticCurvePublicKey):
        curve, _, size = CURVES[key.curve.name]
        point = key.public_numbers()
        return {"kty": "EC", "crv": curve} | {n: encode(getattr(point, n).to_bytes(size, "big")) for n in ("x", "y")}
    return {"kty": "OKP", "crv": choose_algorithm(key), "x": encode(key.public_bytes_raw())}


def from_jwk(jwk: Any) -> PublicKey:
    """Returns the key of a JWK.

    Raises:
        InvalidKeyError: It is none, or too weak.
    """
    curves: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    key: PublicKey
    try:
        if jwk["kty"] == "RSA":
            key = rsa.RSAPublicNumbers(_to_number(jwk["e"]), _to_number(jwk["n"])).public_key()
        elif jwk["kty"] == "EC":
            numbers = ec.EllipticCurvePublicNumbers(_to_number(jwk["x"]), _to_number(jwk["y"]), curves[jwk["crv"]])
            key = numbers.public_key()
        elif jwk["kty"] == "OKP":
            load: dict[str, Callable[[bytes], PublicKey]] = {
                "Ed25519": ed25519.Ed25519PublicKey.from_public_bytes,
                "Ed448": ed448.Ed448PublicKey.from_public_bytes,
            }
            key = load[jwk["crv"]](decode(jwk["x"]))
        else:
            raise InvalidKeyError(f"its key must be {_KEY_RULE}. Received: {jwk['kty']!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidKeyError("its key is not a valid public key (JWK)") from error
    if not _is_strong(key):
        raise InvalidKeyError(f"its key must be {_KEY_RULE}")
    return key


def make_thumbprint(key: PublicKey) -> str:
    """Returns a key's thumbprint (RFC 7638), by which people tell each other keys."""
    return encode(hashlib.sha256(to_canonical(to_jwk(key))).digest())


def _to_number(text: str) -> int:
    return int.from_bytes(decode(text), "big")


def encode(content: bytes) -> str:
    """Returns bytes as base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decode(text: Any) -> bytes:
    """Returns the bytes of base64url without padding.

    Raises:
        InvalidKeyError: It is none, or not in its one canonical form.
    """
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise InvalidKeyError("its key or value is not base64url") from error
    if encode(content) != text:
        raise InvalidKeyError("its key or value is not base64url in its one canonical form")
    return content


def _read(path: str, option: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{option} must be a file that can be read. Received: {path} ({error.strerror}).") from error
