"""Text that others wrote, made safe to show: file names, and what stands in photos' metadata."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape what could move the cursor, hide or reorder text: file names are anyone's input."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )
