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


def duration(seconds: float) -> str:
    """Seconds as "12 s", "3 min" or "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def gigabytes(number: float) -> str:
    """Bytes as "2.5 GB"."""
    return f"{number / 1e9:.1f} GB"


def score_text(score: float) -> str:
    """A score with four digits; one that would read as certainty reads ">0.9999"."""
    return ">0.9999" if score > 0.99994 else f"{score:.4f}"


# A band holds the photos whose false alarm rate is at most this; "none" holds the others, but those
# that are "inconclusive".
BANDS = {"strong": 0.01, "moderate": 0.05, "weak": 0.2}


def one_in(rate: float) -> str:
    """A share of photos in words: 0.025 -> "1 in 40", 0.21 -> "1 in 4.8", 0.8 -> "80%"."""
    if not 0 < rate <= 0.5:
        return f"{rate:.0%}"
    times = 1 / rate
    return f"1 in {times:.0f}" if times >= 10 else f"1 in {times:.1f}".removesuffix(".0")


def rounded_score(score: float) -> float:
    """A score with six decimals; one below 1 never becomes 1."""
    return min(round(score, 6), 0.999999) if score < 1 else score


_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


def without_byte_order_mark(data: bytes) -> bytes:
    """A text file's bytes as UTF-8: lists that Windows programs write start with a byte order mark,
    and can be UTF-16. Bytes without a mark come back as they are.

    Raises:
        UnicodeDecodeError: it is marked as UTF-16, and is none.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            rest = data[len(mark) :]
            return rest if encoding == "utf-8" else rest.decode(encoding).encode("utf-8")
    return data
