"""C2PA manifests that are signed here, with a key made here."""

from __future__ import annotations

import io
import json
import socket
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fasa_cli.inspection import content_credentials
from fasa_cli.inspection.content_credentials import holds_manifest
from fasa_cli.inspection.inspecting import inspect_bytes, section
from tests.inspection.files import jpeg, scene

c2pa = pytest.importorskip("c2pa")
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
_USAGES += ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")


def certificate(
    name: str, key: Any, issuer: str, issuer_key: Any, usage: str, is_authority: bool
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        parts = ((NameOID.COMMON_NAME, text), (NameOID.ORGANIZATION_NAME, "Tests"))
        return x509.Name([x509.NameAttribute(*part) for part in parts])

    start = datetime(2024, 1, 1)
    usages = {one: one == usage for one in _USAGES}
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36500))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.KeyUsage(**usages), critical=True)
        .add_extension(authority, critical=False)
    )
    if not is_authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def signer() -> Any:
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate("Root", root_key, "Root", root_key, "key_cert_sign", True)
    leaf = certificate("A signer", key, "Root", root_key, "digital_signature", False)
    pem = serialization.Encoding.PEM
    chain = leaf.public_bytes(pem) + root.public_bytes(pem)
    plain = serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, private, None))


def signed(signer: Any, source_type: str) -> bytes:
    actions = [
        {"action": "c2pa.created", "digitalSourceType": SOURCE + source_type},
        {"action": "c2pa.edited", "softwareAgent": "An editor"},
    ]
    manifest = {
        "claim_generator_info": [{"name": "An editor", "version": "1.0"}],
        "title": "a.jpg",
        "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}],
    }
    builder = c2pa.Builder(json.dumps(manifest))
    photo = jpeg(scene())
    parent = {"title": "parent.jpg", "relationship": "parentOf"}
    builder.add_ingredient(json.dumps(parent), "image/jpeg", io.BytesIO(photo))
    out = io.BytesIO()
    builder.sign(signer, "image/jpeg", io.BytesIO(photo), out)
    return out.getvalue()


def test_a_valid_manifest_is_described(signer: Any) -> None:
    inspection = inspect_bytes(signed(signer, "digitalCapture"), "a.jpg")
    credentials = inspection.content_credentials
    assert credentials is not None
    assert credentials["signer"] == "A signer"
    assert credentials["generator"] == "An editor 1.0"
    assert [one["action"] for one in credentials["actions"]] == ["c2pa.created", "c2pa.edited"]
    assert credentials["ingredients"] == [{"title": "parent.jpg", "relationship": "parentOf"}]
    assert credentials["problems"] == []
    found = [one for one in inspection.findings if "credentials" in one.kind]
    assert [one.severity for one in found] == ["note"]
    assert section(inspection)["content_credentials"] == credentials


def test_a_changed_picture_does_not_fit_its_manifest(signer: Any) -> None:
    data = bytearray(signed(signer, "digitalCapture"))
    data[-2000] ^= 1
    inspection = inspect_bytes(bytes(data), "a.jpg")
    found = [one for one in inspection.findings if "credentials" in one.kind]
    assert [one.severity for one in found] == ["high"]
    assert "dataHash.mismatch" in found[0].text


def test_an_action_of_a_generator_is_a_mark(signer: Any) -> None:
    inspection = inspect_bytes(signed(signer, "trainedAlgorithmicMedia"), "a.jpg")
    assert ("generator's mark", "high") in {(one.kind, one.severity) for one in inspection.findings}


def test_nothing_is_fetched(signer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = signed(signer, "digitalCapture")

    def refuse(*arguments: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert inspect_bytes(data, "a.jpg").content_credentials is not None
    verify = content_credentials._OFFLINE["verify"]
    assert verify == {"remote_manifest_fetch": False, "ocsp_fetch": False}


def test_damaged_manifests_end_in_a_finding(signer: Any) -> None:
    data = signed(signer, "digitalCapture")
    place = data.index(b"jumdc2pa")
    for offset in (4, 60, 200, 800):
        broken = data[: place + offset] + bytes(40) + data[place + offset + 40 :]
        findings = inspect_bytes(broken, "a.jpg").findings
        assert any("credentials" in one.kind and one.severity != "note" for one in findings) or (
            not holds_manifest(broken)
        )


def test_without_the_extra_the_command_is_named(
    signer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_credentials, "find_spec", lambda name: None)
    inspection = inspect_bytes(signed(signer, "digitalCapture"), "a.jpg")
    assert inspection.content_credentials is None
    (found,) = [one for one in inspection.findings if one.kind == "content credentials"]
    assert "pip install 'fasa-cli[c2pa]'" in found.text
