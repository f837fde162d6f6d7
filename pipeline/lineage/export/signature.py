"""Signatures of JSON documents, as CycloneDX takes them: JSON Signature Format (JSF) 0.82 over the canonical form (RFC 8785).

What is signed is the document with its `signature` in it, but for the signature's own `value`.
"""

from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils

from pipeline.lineage.export.canonical import to_canonical
from pipeline.lineage.export.keys import (
    CURVES,
    PrivateKey,
    PublicKey,
    choose_algorithm,
    decode,
    encode,
    from_jwk,
    make_thumbprint,
    to_jwk,
)

_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


class SignatureError(Exception):
    """A signature does not hold, or cannot be judged; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Who has signed.

    Attributes:
        algorithm: E.g. `Ed25519`.
        thumbprint: Of the public key (RFC 7638), by which people tell each other keys.
        is_trusted: Whether the key is the one that was given, and not only the one in the document.
    """

    algorithm: str
    thumbprint: str
    is_trusted: bool


def sign(document: dict[str, Any], key: PrivateKey) -> dict[str, Any]:
    """Returns the document with a signature; one that it has is replaced.

    Signatures are deterministic: the same document and key give the same bytes.

    Args:
        document: JSON.
        key: Whose signature.
    """
    public = key.public_key()
    head = {"algorithm": choose_algorithm(public), "publicKey": to_jwk(public)}
    signed = document | {"signature": head}
    value = _sign_bytes(to_canonical(signed), key)
    return document | {"signature": head | {"value": encode(value)}}


def verify(document: dict[str, Any], trusted: PublicKey | None) -> Signer:
    """Checks a document's signature.

    Args:
        document: JSON, with a signature.
        trusted: The key that must have signed. Without it the document's own key is taken: then the document is as it was
            signed, but whose the key is stays open.

    Raises:
        SignatureError: It has no signature, or one that does not hold, or one of a kind that is not known here.
        InvalidKeyError: The key or the value in it is malformed.
    """
    head = document.get("signature")
    if not isinstance(head, dict):
        raise SignatureError("it has no signature")
    unknown = sorted(set(head) - {"algorithm", "publicKey", "value", "keyId"})
    if unknown:
        # Among them `excludes`, which leaves parts of a document unsigned.
        raise SignatureError(f"a signature with {', '.join(unknown)} is not supported; it must be a single, plain one")
    own = from_jwk(head["publicKey"]) if "publicKey" in head else None
    if trusted and own and to_jwk(trusted) != to_jwk(own):
        raise SignatureError(f"another key has signed it: {make_thumbprint(own)}, not {make_thumbprint(trusted)}")
    key = trusted or own
    if key is None:
        raise SignatureError("it names no key; give the signer's with --public-key")
    algorithm, value = head.get("algorithm"), decode(head.get("value"))
    signed = document | {"signature": {name: item for name, item in head.items() if name != "value"}}
    try:
        _verify_bytes(to_canonical(signed), value, key, str(algorithm))
    except (InvalidSignature, ValueError) as error:
        raise SignatureError("it was changed after it was signed, or the signature is another document's") from error
    return Signer(algorithm=str(algorithm), thumbprint=make_thumbprint(key), is_trusted=trusted is not None)


def _sign_bytes(content: bytes, key: PrivateKey) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        _, algorithm, size = CURVES[key.curve.name]
        der = key.sign(content, ec.ECDSA(_HASHES[algorithm[2:]], deterministic_signing=True))
        # JWA wants the two numbers side by side (RFC 7518, section 3.4).
        return b"".join(number.to_bytes(size, "big") for number in utils.decode_dss_signature(der))
    return key.sign(content)


def _verify_bytes(content: bytes, value: bytes, key: PublicKey, algorithm: str) -> None:
    if isinstance(key, rsa.RSAPublicKey) and algorithm[:2] in ("RS", "PS") and algorithm[2:] in _HASHES:
        digest = _HASHES[algorithm[2:]]
        scheme = padding.PKCS1v15() if algorithm[:2] == "RS" else padding.PSS(padding.MGF1(digest), digest.digest_size)
        key.verify(value, content, scheme, digest)
        return
    if algorithm != choose_algorithm(key):
        raise SignatureError(f"its algorithm {algorithm} does not fit its key")
    if isinstance(key, ec.EllipticCurvePublicKey):
        size = CURVES[key.curve.name][2]
        if len(value) != 2 * size:
            raise InvalidSignature
        numbers = (int.from_bytes(value[:size], "big"), int.from_bytes(value[size:], "big"))
        key.verify(utils.encode_dss_signature(*numbers), content, ec.ECDSA(_HASHES[algorithm[2:]]))
    elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(value, content)
