"""Normalising and filtering one document. Each filter has a name, which the drop report counts."""

import re
import unicodedata

from scalinglab.config import Clean

BLANK_LINES = re.compile(r"\n{3,}")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ufeff\ufffe\uffff]")
TRAILING = re.compile(r"[ \t]+\n")
# SentencePiece writes a space as U+2581, so that character could not survive the round trip.
META_SPACE = "\u2581"


def normalise(text: str) -> str:
    """NFC, Unix line ends, no control characters, no trailing blanks, at most one empty line in a row."""
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").replace(META_SPACE, "_")
    text = CONTROLS.sub("", text)
    return BLANK_LINES.sub("\n\n", TRAILING.sub("\n", text)).strip() + "\n"


def reason_to_drop(text: str, options: Clean) -> str | None:
    """The name of the first filter that a normalised document fails, or None."""
    if len(text) < options.min_chars:
        return "too_short"
    if len(text) > options.max_chars:
        return "too_long"
    if max(map(len, text.split("\n"))) > options.max_line_chars:
        return "long_line"
    letters = sum(c.isalpha() for c in text)
    if letters < options.min_alpha_share * len(text):
        return "few_letters"
    return None
