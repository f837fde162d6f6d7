"""Tests of signatures: what a signed bill of materials promises, and that a change is found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa

from pipeline.lineage.export.canonical import make_exact, to_canonical
from pipeline.lineage.export.keys import InvalidKeyError, decode, encode, from_jwk, make_thumbprint, to_jwk
from pipeline.lineage.export.signature import SignatureError, sign, verify

PASSPHRASE = "LINEAGE_SIGN_PASSPHRASE"
KEYS = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
}
DOCUMENT = {"b": [1, 2.5, "ü\u2028"], "a": {"name": "model"}}


def write_key(path: Path, key, passphrase: str = "") -> str:
    protection = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(encoding, form, protection))
    return str(path)


def write_public(path: Path, key) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return str(path)


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_kind_of_key_signs_and_a_change_is_found(algorithm: str):
    key = KEYS[algorithm]()
    signed = sign(DOCUMENT, key)
    assert signed["signature"]["algorithm"] == algorithm
    assert sign(DOCUMENT, key) == signed == sign(signed, key), "signatures are deterministic, and replace others"
    assert verify(json.loads(json.dumps(signed, indent=3)), None).algorithm == algorithm
    assert verify(signed, key.public_key()).is_trusted
    for changed in (
        signed | {"c": 1},
        signed | {"b": [1, 2.5, "u\u2028"]},
        {k: v for k, v in signed.items() if k != "a"},
    ):
        with pytest.raises(SignatureError, match="changed after it was signed"):
            verify(changed, None)
    value = bytearray(decode(signed["signature"]["value"]))
    value[-1] ^= 1
    with pytest.raises(SignatureError, match="changed after it was signed"):
        verify(signed | {"signature": signed["signature"] | {"value": encode(bytes(value))}}, None)


def test_what_is_signed_is_the_document_with_algorithm_and_key():
    """After the specification of JSF, with nothing of this project but the document."""
    key = KEYS["Ed25519"]()
    head = {
        "algorithm": "Ed25519",
        "publicKey": {"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().public_bytes_raw())},
    }
    text = json.dumps(DOCUMENT | {"signature": head}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert sign(DOCUMENT, key)["signature"] == head | {"value": encode(key.sign(text.encode()))}


def test_signatures_of_others_with_other_algorithms_of_rsa():
    key = KEYS["RS256"]()
    for algorithm, scheme, digest in (
        ("RS512", padding.PKCS1v15(), hashes.SHA512()),
        ("PS256", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    ):
        head = {"algorithm": algorithm, "publicKey": to_jwk(key.public_key())}
        value = key.sign(to_canonical(DOCUMENT | {"signature": head}), scheme, digest)
        assert verify(DOCUMENT | {"signature": head | {"value": encode(value)}}, None).algorithm == algorithm


def test_the_thumbprint_is_that_of_the_standard():
    """The example of RFC 8037, appendix A.3."""
    key = from_jwk({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    assert make_thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_signatures_that_leave_something_open_are_refused():
    key = KEYS["ES256"]()
    signed = sign(DOCUMENT, key)
    head = signed["signature"]
    for change, message in (
        (head | {"excludes": ["a"]}, "excludes"),
        ({"signers": [head]}, "signers"),
        (head | {"algorithm": "HS256"}, "HS256 does not fit its key"),
        (head | {"algorithm": "ES384"}, "ES384 does not fit its key"),
        ({name: item for name, item in head.items() if name != "publicKey"}, "names no key"),
        ("text", "no signature"),
    ):
        with pytest.raises(SignatureError, match=message):
            verify(signed | {"signature": change}, None)
    with pytest.raises(SignatureError, match="another key has signed it"):
        verify(signed, KEYS["ES256"]().public_key())
    for broken in (head | {"value": head["value"] + "="}, head | {"value": 7}, head | {"publicKey": {"kty": "EC"}}):
        with pytest.raises(InvalidKeyError):
            verify(signed | {"signature": broken}, None)


@pytest.mark.parametrize("path", [r"\u0061", "ü"])
def test_canonical_form_is_one(path: str):
    assert to_canonical(json.loads('{"b": 1.0, "a": "' + path + '", "c": 1e21}')) == (
        b'{"a":"' + json.loads(f'"{path}"').encode() + b'","b":1,"c":1e+21}'
    )


def test_numbers_that_json_cannot_hold_become_text():
    exact = make_exact({"n": 2**60, "nan": float("nan"), "list": [float("-inf"), 3], "ok": True})
    assert exact == {"n": str(2**60), "nan": "nan", "list": ["-inf", 3], "ok": True}


@pytest.fixture
def signed(store, tmp_path: Path) -> tuple[Path, str]:
    """A signed bill of materials, and the public key."""
    store.record_run()
    key = KEYS["Ed25519"]()
    path = tmp_path / "bom.json"
    arguments = ("--format", "cyclonedx", "--sign-key", write_key(tmp_path / "key.pem", key), "--output", str(path))
    result = store.export(*arguments)
    assert result.exit_code == 0, result.stderr
    return path, write_public(tmp_path / "public.pem", key)


def test_a_signed_bill_is_checked(store, signed: tuple[Path, str]):
    path, public = signed
    plain = store.export("--check", str(path))
    assert plain.exit_code == 0 and "a key that only the file itself names" in plain.stdout
    told = json.loads(store.export("--check", str(path), "--public-key", public, "--json").stdout)
    assert (told["trusted"], told["algorithm"]) == (True, "Ed25519")


def test_any_changed_byte_fails(store, signed: tuple[Path, str]):
    path, _ = signed
    content = path.read_bytes()
    for position in range(0, len(content), 97):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        result = store.export("--check", str(path))
        assert result.exit_code == 1, f"byte {position}: {content[position - 10 : position + 10]!r}"
        assert isinstance(result.exception, SystemExit) and result.stderr.startswith("Error: --check needs")


def test_another_signer_is_told_apart(store, signed: tuple[Path, str], tmp_path: Path):
    path, public = signed
    forged = sign(json.loads(path.read_bytes()) | {"version": 2}, KEYS["Ed25519"]())
    path.write_text(json.dumps(forged))
    assert store.export("--check", str(path)).exit_code == 0
    result = store.export("--check", str(path), "--public-key", public)
    assert result.exit_code == 1 and "another key has signed it" in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no json", "which is no JSON"),
        (b"\xff", "which is no JSON"),
        (b'{"bomFormat": "CycloneDX", "bomFormat": "CycloneDX"}', "a key twice"),
        (b'{"bomFormat": "CycloneDX", "version": NaN}', "NaN is no number"),
        (b'{"a": 1}', "another kind of document"),
        (b"[" * 100_000, "which is no JSON"),
        (b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}', "it has no signature"),
        (b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": "1"}', "version"),
    ],
)
def test_what_is_no_signed_bill_is_refused(store, tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "bom.json"
    path.write_bytes(content)
    result = store.export("--check", str(path))
    assert result.exit_code == 1 and message in result.stderr


def test_passphrases_come_from_the_environment(store, tmp_path: Path):
    store.record_run()
    key = write_key(tmp_path / "key.pem", KEYS["ES256"](), "secret")
    arguments = ("--format", "cyclonedx", "--sign-key", key)
    assert store.export(*arguments, env={PASSPHRASE: "secret"}).exit_code == 0
    missing = store.export(*arguments, env={PASSPHRASE: ""})
    assert missing.exit_code == 1 and f"environment variable {PASSPHRASE}" in missing.stderr
    wrong = store.export(*arguments, env={PASSPHRASE: "other"})
    assert wrong.exit_code == 1 and "is wrong" in wrong.stderr and "secret" not in wrong.stderr
    plain = write_key(tmp_path / "plain.pem", KEYS["ES256"]())
    needless = store.export("--format", "cyclonedx", "--sign-key", plain, env={PASSPHRASE: "x"})
    assert needless.exit_code == 1 and "unset it" in needless.stderr


@pytest.mark.parametrize(
    "make",
    [lambda: rsa.generate_private_key(65537, 1024), lambda: ec.generate_private_key(ec.SECP256K1()), lambda: dsa.generate_private_key(2048)],
)  # fmt: skip
def test_weak_and_other_keys_are_refused(store, tmp_path: Path, make):
    store.record_run()
    result = store.export("--format", "cyclonedx", "--sign-key", write_key(tmp_path / "key.pem", make()))
    assert result.exit_code == 1 and "another kind of key" in result.stderr and result.stdout == ""


def test_files_that_are_no_keys_are_named(store, tmp_path: Path):
    store.record_run()
    (tmp_path / "no.pem").write_text("no key")
    for given in ("no.pem", "missing.pem"):
        result = store.export("--format", "cyclonedx", "--sign-key", str(tmp_path / given))
        assert result.exit_code == 1 and given in result.stderr
        result = store.export("--check", "bom.json", "--public-key", str(tmp_path / given))
        assert result.exit_code == 1 and given in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--format", "openlineage", "--sign-key", "key.pem"),
        ("--format", "cyclonedx", "--public-key", "key.pem"),
        ("--check", "bom.json", "--format", "cyclonedx"),
        ("run-1", "--check", "bom.json"),
        ("--format", "spdx"),
    ],
)
def test_options_that_do_not_fit_each_other(store, arguments: tuple[str, ...]):
    assert store.export(*arguments).exit_code == 2


def test_an_output_that_cannot_be_written(store, tmp_path: Path):
    store.record_run()
    result = store.export("--format", "cyclonedx", "--output", str(tmp_path / "none" / "bom.json"))
    assert result.exit_code == 1 and "--output must be a file in a folder that is there" in result.stderr


def test_imports_stay_light():
    heavy = ("tensorflow", "tfx", "apache_beam", "keras", "requests", "jsonschema", "cyclonedx")
    modules = ("documents", "openlineage", "cyclonedx", "signature", "check")
    code = f"import sys; {'; '.join(f'import pipeline.lineage.export.{m}' for m in modules)}"
    code += f"; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
