"""Text for people: what others wrote made safe to show, numbers with their nouns, scores."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape what could move the cursor, hide or reorder text: file names are anyone's input."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def counted(number: int, noun: str, plural: str = "") -> str:
    """(1, "image") -> "1 image"; (2, "image") -> "2 images"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def score_text(score: float) -> str:
    """A score with four digits; one that would read as certainty reads ">0.9999"."""
    return ">0.9999" if score > 0.99994 else f"{score:.4f}"
