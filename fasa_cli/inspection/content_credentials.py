"""Content credentials: signed C2PA manifests in a file, read offline.

Nothing is fetched: neither manifests that a file points to, nor revocations, nor a list of trusted
signers. So a valid signature says that the file is as it was signed, not who holds the key.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from fasa_cli.inspection.contradictions import SOURCE_TYPES
from fasa_cli.inspection.records import Finding
from fasa_cli.text import counted

_STORE = b"jumdc2pa"  # the description box of a manifest store, its UUID's first bytes
_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIC": "image/heic",
    "GIF": "image/gif",
    "JPEG XL": "image/jxl",
    "camera RAW": "image/x-adobe-dng",
}
_OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
_UNTRUSTED = "signingCredential.untrusted"  # without a list of signers none is trusted
_LONGEST_TEXT = 200  # characters
_MOST_LISTED = 100
_SIGNED = (
    "A valid signature says that the file is as it was signed; it does not say that the signer is "
    "who the certificate names, nor that the picture shows what happened."
)
_REMOVED = "Content credentials are easily removed, so their absence shows nothing."


def holds_manifest(data: bytes) -> bool:
    """Whether a file seems to hold a C2PA manifest store."""
    return _STORE in data


def read_content_credentials(
    data: bytes, file_format: str
) -> tuple[dict[str, Any] | None, list[Finding]]:
    """What a file's manifests say (None without any that can be read), and findings."""
    if not holds_manifest(data):
        return None, []
    if find_spec("c2pa") is None:
        text = "The file holds a C2PA manifest (content credentials), which was not read: "
        cure = "it needs a library that is not installed; run: pip install 'fasa-cli[c2pa]'."
        return None, [Finding("content credentials", "note", text + cure, _REMOVED)]
    try:
        state, store = _read(data, file_format)
        summary = _summary(state, store)
    except Exception as error:  # the library's own errors, and whatever a hostile file gives
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        finding = Finding(
            "content credentials",
            "medium",
            f"The file holds a C2PA manifest that cannot be read ({reason}).",
            "Programs that save a file again damage manifests without meaning to.",
        )
        return None, [finding]
    return summary, list(_findings(summary))


def _read(data: bytes, file_format: str) -> tuple[str, dict[str, Any]]:
    from c2pa import Context, Reader, Settings

    context = Context(Settings.from_dict(_OFFLINE))
    reader = Reader(_TYPES.get(file_format), io.BytesIO(data), context=context)
    try:
        store: dict[str, Any] = json.loads(reader.json())
        return str(reader.get_validation_state() or "unknown").lower(), store
    finally:
        reader.close()


def _summary(state: str, store: Mapping[str, Any]) -> dict[str, Any]:
    manifests = store.get("manifests") or {}
    active = manifests.get(store.get("active_manifest")) or {}
    signature = active.get("signature_info") or {}
    generators = active.get("claim_generator_info") or [{}]
    actions: list[dict[str, str]] = []
    for assertion in active.get("assertions") or ():
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            for action in (assertion.get("data") or {}).get("actions") or ():
                actions.append(_action(action))
    statuses = [str(one.get("code")) for one in store.get("validation_status") or ()]
    return {
        "state": state,
        "manifests": len(manifests),
        "title": _text(active.get("title")),
        "generator": " ".join(
            filter(None, (_text(generators[0].get("name")), _text(generators[0].get("version"))))
        ),
        "signer": _text(signature.get("common_name")),
        "issuer": _text(signature.get("issuer")),
        "signed": _text(signature.get("time")),
        "actions": actions[:_MOST_LISTED],
        "ingredients": [
            {"title": _text(one.get("title")), "relationship": _text(one.get("relationship"))}
            for one in (active.get("ingredients") or ())[:_MOST_LISTED]
        ],
        "problems": [code for code in statuses if code != _UNTRUSTED][:_MOST_LISTED],
    }


def _action(action: Mapping[str, Any]) -> dict[str, str]:
    agent = action.get("softwareAgent")
    if isinstance(agent, Mapping):
        agent = agent.get("name")
    source = _text(action.get("digitalSourceType")).rstrip("/").rsplit("/", 1)[-1]
    return {
        "action": _text(action.get("action")),
        "software": _text(agent),
        "source_type": source,
        "when": _text(action.get("when")),
    }


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:_LONGEST_TEXT]


def _findings(summary: Mapping[str, Any]) -> Iterator[Finding]:
    signer = summary["signer"] or "a signer without a name"
    issuer = f" ({summary['issuer']})" if summary["issuer"] else ""
    if summary["problems"] or summary["state"] == "invalid":
        codes = ", ".join(summary["problems"][:5]) or "no reason is given"
        yield Finding(
            "content credentials do not fit",
            "high",
            f"The C2PA manifest signed by {signer}{issuer} does not fit the file: {codes}. One of "
            "the two was changed after it was signed.",
            "Saving, scaling or adding metadata with a program that knows no C2PA does that, too.",
        )
    else:
        actions = ", ".join(dict.fromkeys(one["action"] for one in summary["actions"]))
        yield Finding(
            "content credentials",
            "note",
            f"A C2PA manifest by {summary['generator'] or 'an unnamed program'}, signed by "
            f"{signer}{issuer}, fits the file: {counted(len(summary['actions']), 'action')}"
            f"{f' ({actions})' if actions else ''}, "
            f"{counted(len(summary['ingredients']), 'ingredient')}.",
            _SIGNED,
        )
    for source in dict.fromkeys(one["source_type"] for one in summary["actions"]):
        if source in SOURCE_TYPES:
            severity, meaning = SOURCE_TYPES[source]
            yield Finding(
                "generator's mark",
                severity,
                f"A C2PA action says digitalSourceType {source}: {meaning}.",
                _REMOVED,
            )
