"""Bundles: what is packed, that its receiver can check it, and that no change goes unseen."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import bagit
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fasa_cli.errors import ConfigError, OutputError
from fasa_cli.report.page import write_html_report
from fasa_cli.scanning import bundle as bundles
from fasa_cli.scanning.bundle import bag, bundle, report_of
from fasa_cli.scanning.bundle_verification import is_bundle, verify_bundle
from fasa_cli.scanning.saved_run import SavedRun
from fasa_cli.scanning.signing import read_private_key, read_public_key
from tests.conftest import RedPredictor, scan_red, write_photo
from tests.scanning.test_verification import ODD, edit_record, edit_run, folder, scanned

__all__ = ["folder"]  # the fixture


def keys(name: str = "key") -> tuple[Path, Path]:
    """A new private key and its public one, as OpenSSL writes them."""
    key = Ed25519PrivateKey.generate()
    private, public = Path(f"{name}.pem"), Path(f"{name}.pub.pem")
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


def unpacked(path: str = "evidence.zip", to: str = "unpacked") -> Path:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(to)
    return Path(to)


def found(path: str | Path, **options) -> list[tuple[str, str, str]]:
    result, _ = verify_bundle(Path(path), **options)
    return [(one.check, one.path, one.kind) for one in result.findings]


# --- Packing --------------------------------------------------------------------------------


def test_a_bundle_holds_records_and_outputs_but_no_photos() -> None:
    run = scanned(probabilities=True)
    write_html_report(run.out, Path("report.html"))
    packed = bundle(run, Path("evidence.zip"), report=Path("report.html"))
    with zipfile.ZipFile("evidence.zip") as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
        for photo in manifest["photos"]:
            for kind, inside in photo["outputs"].items():
                name = f"{photo['name']}.{'mask' if kind == 'mask' else 'prob'}.png"
                assert archive.read(inside) == Path("masks", name).read_bytes()
    assert len(names) == len(set(names)) == packed.files == 3 * 2 + 5 + 3
    assert not [name for name in names if name.startswith("originals")]
    assert {"records/run.json", "records/errors.jsonl", "report.html"} <= set(names)
    assert manifest["digest"] == run.description["digest"]
    assert packed.sha256 == hashlib.sha256(Path("evidence.zip").read_bytes()).hexdigest()


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
def test_sums_are_what_sha256sum_checks_and_names_are_safe() -> None:
    for seed, name in enumerate(ODD):
        write_photo(Path("photos", name), seed)
    run = scanned()
    packed = bundle(run, Path("evidence.zip"), originals=True)
    assert packed.originals == 3 + len(ODD)
    with zipfile.ZipFile("evidence.zip") as archive:
        for name in archive.namelist():
            assert name.isprintable()
            assert ".." not in name.split("/")
            assert not name.startswith("/")
        archive.extractall("unpacked")
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(command, cwd="unpacked", check=True)
    listed = Path("unpacked/SHA256SUMS").read_text().splitlines()
    files = [path for path in Path("unpacked").rglob("*") if path.is_file()]
    assert len(files) == len(listed) + 1 == packed.files
    manifest = json.loads(Path("unpacked/manifest.json").read_text())
    assert set(ODD) <= {photo["name"] for photo in manifest["photos"]}
    for photo in manifest["photos"]:
        data = Path("unpacked", photo["original"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == photo["sha256"]


def test_a_bundle_is_the_same_bytes_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    run = scanned()
    first = bundle(run, Path("one.zip")).sha256
    monkeypatch.setattr(bundles, "PIECE", 7)
    assert bundle(run, Path("two.zip")).sha256 == first


@pytest.mark.parametrize("originals", [False, True])
def test_what_changed_is_not_packed(originals: bool) -> None:
    run = scanned()
    victim = Path("photos/sub/b.png" if originals else "masks/sub/b.png.mask.png")
    victim.write_bytes(b"other")
    with pytest.raises(OutputError, match=r"b.png.*is not what the scan recorded"):
        bundle(run, Path("evidence.zip"), originals=originals)
    assert sorted(os.listdir(".")) == ["masks", "photos", "weights"]


def test_a_name_that_leads_out_is_refused() -> None:
    run = scanned()
    edit_record(run.out, name="../../a.png")
    with pytest.raises(OutputError, match="no name for a file"):
        bundle(run, Path("evidence.zip"), originals=True)


def test_a_bundle_that_cannot_be_written() -> None:
    with pytest.raises(OutputError, match="gone"):
        bundle(scanned(), Path("gone/evidence.zip"))


def test_a_report_of_another_scan_is_refused() -> None:
    run = scanned()
    write_photo(Path("others/x.png"), 77)
    scan_red("others", out="other")
    write_html_report(Path("other"), Path("other.html"))
    Path("page.html").write_text("<p>")
    for wrong in ("other.html", "page.html"):
        with pytest.raises(OutputError, match=rf"{wrong}: .*fasa report masks"):
            bundle(run, Path("evidence.zip"), report=Path(wrong))
    write_html_report(run.out, Path("own.html"))
    assert bundle(run, Path("evidence.zip"), report=Path("own.html")).files
    edit_record(run.out, score_max=0.5)
    with pytest.raises(OutputError, match="as it is now"):
        bundle(SavedRun(run.out), Path("later.zip"), report=Path("own.html"))


def test_the_report_that_was_written_last_is_known() -> None:
    run = scanned()
    assert report_of(run) is None
    write_html_report(run.out, Path("own.html"))
    assert report_of(run) == Path("own.html").absolute()
    os.remove("own.html")
    with pytest.raises(OutputError, match=r"own\.html: .*fasa report"):
        report_of(run)
    write_html_report(run.out, run.out / "report.html")
    assert report_of(run) == run.out / "report.html"


# --- The receiver's check -------------------------------------------------------------------


@pytest.mark.parametrize("originals", [False, True])
def test_its_receiver_can_check_it_packed_and_unpacked(originals: bool) -> None:
    for seed, name in enumerate(ODD):
        write_photo(Path("photos", name), seed)
    bundle(scanned(probabilities=True), Path("evidence.zip"), originals=originals)
    os.rename("photos", "gone")
    shutil.rmtree("masks")
    for path in (Path("evidence.zip"), unpacked()):
        assert is_bundle(path)
        result, run = verify_bundle(path)
        assert result.findings == ()
        assert result.checked["outputs"] == 2 * (3 + len(ODD))
        assert result.checked.get("inputs", 0) == (3 + len(ODD) if originals else 0)
        assert run.description["status"] == "complete"
        result, _ = verify_bundle(path, originals_at=Path("gone"))
        assert (result.findings, result.checked["inputs"]) == ((), 3 + len(ODD))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda top: (top / "outputs/a.png.mask.png").write_bytes(b"x"), "outputs"),
        (lambda top: (top / "outputs/a.png.mask.png").unlink(), "outputs"),
        (lambda top: (top / "originals/c.png").write_bytes(b"x"), "inputs"),
        (lambda top: (top / "more.txt").write_text("x"), "files"),
        (lambda top: (top / "records/results.csv").write_text("x"), "files"),
    ],
)
def test_what_changed_in_a_bundle_is_found(spoil, expected: str) -> None:
    bundle(scanned(), Path("evidence.zip"), originals=True)
    top = unpacked()
    spoil(top)
    assert {expected, "files"} <= {check for check, _, _ in found(top)}


def test_new_sums_do_not_hide_a_change() -> None:
    """Whoever changes an output can write its sum anew, but not what the records say."""
    bundle(scanned(), Path("evidence.zip"), originals=True)
    top = unpacked()
    (top / "outputs/a.png.mask.png").write_bytes(b"x")
    records = (top / "records/results.jsonl").read_text().splitlines(keepends=True)
    record = {**json.loads(records[1]), "score_max": 0.5}
    (top / "records/results.jsonl").write_text(
        records[0] + json.dumps(record) + "\n" + "".join(records[2:])
    )
    sums = ""
    for path in sorted(path for path in top.rglob("*") if path.is_file()):
        if path.name != "SHA256SUMS":
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            sums += f"{digest}  {path.relative_to(top).as_posix()}\n"
    (top / "SHA256SUMS").write_text(sums)
    assert set(found(top)) == {
        ("outputs", "a.png.mask.png", "changed"),
        ("records", "records/results.jsonl", "changed"),
    }


def test_a_bundle_without_its_records_is_refused() -> None:
    bundle(scanned(), Path("evidence.zip"))
    (unpacked() / "records/skipped.jsonl").unlink()
    with pytest.raises(OutputError, match=r"skipped\.jsonl"):
        found("unpacked")


def test_names_in_a_bundle_lead_nowhere() -> None:
    bundle(scanned(), Path("evidence.zip"))
    top = unpacked()
    Path("secret").write_text("secret")
    manifest = json.loads((top / "manifest.json").read_text())
    manifest["photos"][0]["outputs"]["mask"] = "../secret"
    (top / "manifest.json").write_text(json.dumps(manifest))
    assert ("outputs", "a.png.mask.png", "missing") in found(top)


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    Path("evidence.zip").write_bytes(data)
    with pytest.raises(OutputError, match=r"evidence\.zip|SHA256SUMS"):
        verify_bundle(Path("evidence.zip"))


def test_a_damaged_zip_is_refused_or_found() -> None:
    bundle(scanned(), Path("evidence.zip"))
    data = bytearray(Path("evidence.zip").read_bytes())
    data[len(data) // 3] ^= 1
    Path("evidence.zip").write_bytes(data)
    with pytest.raises(OutputError, match=r"evidence\.zip"):  # a zip has checksums of its own
        assert found("evidence.zip")


def test_a_bundle_that_was_compressed_is_checked_and_a_bomb_is_not_unpacked() -> None:
    bundle(scanned(), Path("evidence.zip"))
    with (
        zipfile.ZipFile("evidence.zip") as archive,
        zipfile.ZipFile("again.zip", "w", zipfile.ZIP_DEFLATED) as smaller,
        zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in archive.namelist():
            data = archive.read(name)
            smaller.writestr(name, data)
            bomb.writestr(name, bytes(200 << 20) if name == "records/results.jsonl" else data)
    assert found("again.zip") == []
    assert os.path.getsize("bomb.zip") < 1 << 20
    with pytest.raises(OutputError, match=r"records/results\.jsonl: expands"):
        verify_bundle(Path("bomb.zip"))


# --- BagIt ----------------------------------------------------------------------------------


def test_a_bag_is_valid_for_archives_own_tools_and_for_fasa() -> None:
    for seed, name in enumerate(ODD):
        write_photo(Path("photos", name), seed)
    run = scanned(probabilities=True)
    packed = bag(run, Path("evidence.bag"), originals=True)
    assert packed.originals == 3 + len(ODD)
    bagit.Bag("evidence.bag").validate()
    assert is_bundle(Path("evidence.bag"))
    assert found("evidence.bag") == []
    with pytest.raises(OutputError, match="exists"):
        bag(run, Path("evidence.bag"))
    Path("evidence.bag/data/outputs/a.png.mask.png").write_bytes(b"x")
    with pytest.raises(bagit.BagValidationError):
        bagit.Bag("evidence.bag").validate()
    assert ("outputs", "a.png.mask.png", "changed") in found("evidence.bag")


def test_a_bag_that_fails_leaves_nothing_behind() -> None:
    run = scanned()
    os.remove("photos/c.png")
    with pytest.raises(OutputError, match="--originals-at"):
        bag(run, Path("evidence.bag"), originals=True)
    assert sorted(os.listdir(".")) == ["masks", "photos", "weights"]


# --- Signatures -----------------------------------------------------------------------------


def test_a_signed_bundle_is_checked_with_the_public_key() -> None:
    private, public = keys()
    bundle(scanned(), Path("evidence.zip"), key=read_private_key(private))
    _, other = keys("other")
    for path in (Path("evidence.zip"), unpacked()):
        result, _ = verify_bundle(path, key=read_public_key(public))
        assert (result.findings, result.checked["signatures"]) == ((), 1)
        assert found(path) == []
        assert found(path, key=read_public_key(other)) == [
            ("signatures", "SHA256SUMS.sig", "foreign")
        ]
    bundle(SavedRun(Path("masks")), Path("plain.zip"))
    assert found("plain.zip", key=read_public_key(public)) == [
        ("signatures", "SHA256SUMS.sig", "missing")
    ]


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_openssl_checks_the_signature() -> None:
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem"], check=True)
    subprocess.run(["openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "pub.pem"], check=True)
    bundle(scanned(), Path("evidence.zip"), key=read_private_key(Path("key.pem")))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "../pub.pem", "-rawin"]
    command += ["-in", "SHA256SUMS", "-sigfile", "SHA256SUMS.sig"]
    subprocess.run(command, cwd=unpacked(), check=True, capture_output=True)
    assert found("evidence.zip", key=read_public_key(Path("pub.pem"))) == []


def test_keys_in_openssh_form_and_with_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    key = Ed25519PrivateKey.generate()
    protected = serialization.BestAvailableEncryption(b"word")
    Path("ssh").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    Path("ssh.pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
    )
    Path("locked.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protected)
    )
    signature = read_private_key(Path("ssh")).sign(b"data")
    read_public_key(Path("ssh.pub")).verify(signature, b"data")
    with pytest.raises(ConfigError, match=r"locked\.pem: .*FASA_KEY_PASSWORD"):
        read_private_key(Path("locked.pem"))
    monkeypatch.setenv("FASA_KEY_PASSWORD", "word")
    assert read_private_key(Path("locked.pem")).sign(b"data") == signature
    assert read_private_key(Path("ssh")).sign(b"data") == signature
    Path("text").write_text("no key")
    for read in (read_private_key, read_public_key):
        for name in ("text", "gone"):
            with pytest.raises(ConfigError, match=name):
                read(Path(name))


def test_a_signed_scan_is_checked_and_continued_with_its_key_only() -> None:
    from fasa_cli.scanning.discovery import discover
    from fasa_cli.scanning.options import ScanOptions
    from fasa_cli.scanning.scanner import scan
    from fasa_cli.scanning.verification import verify

    private, public = keys()
    other, _ = keys("other")

    def run(key: Path | None) -> None:
        options = ScanOptions(Path("masks"))
        found = discover(["photos"], options.out)
        signer = key and read_private_key(key)
        scan(RedPredictor(), found, options, argv=[], key=signer)  # type: ignore[arg-type]

    def signatures() -> list[str]:
        result = verify(SavedRun(Path("masks")), key=read_public_key(public))
        return [one.kind for one in result.findings if one.check == "signatures"]

    run(private)
    assert signatures() == []
    for key, message in ((None, "--sign"), (other, "no signature of run.json with this key")):
        with pytest.raises(OutputError, match=message):
            run(key)
    run(private)
    assert signatures() == []
    edit_run(Path("masks"), started="2001-01-01T00:00:00+00:00")
    assert signatures() == ["foreign"]
    with pytest.raises(OutputError, match=r"run\.json\.sig: .*--overwrite"):
        run(private)  # what was changed is not signed anew
    Path("masks/_fasa/run.json.sig").unlink()
    assert signatures() == ["missing"]
    bundle(SavedRun(Path("masks")), Path("evidence.zip"))
    assert not any("sig" in name for name in zipfile.ZipFile("evidence.zip").namelist())
