"""The page around the data of a report: template, style, script, and its security policy."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any

_TEMPLATE = Path(__file__).parent / "html"


def shell(digest: str) -> tuple[str, str]:
    """The page up to where the data belong, and after; `digest` says of which scan it is."""
    style = (_TEMPLATE / "report.css").read_text(encoding="utf-8")
    script = (_TEMPLATE / "report.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_source_hash(style)}'; "
        f"script-src '{_source_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    page = (_TEMPLATE / "report.html").read_text(encoding="utf-8")
    head, tail = page.split("<!-- data -->")
    head = head.replace("{policy}", escape(policy)).replace("{digest}", escape(digest))
    head = head.replace("/* style */", style)
    return head, tail.replace("/* script */", script)


def _source_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()


def embedded_json(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
