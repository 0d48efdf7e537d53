"""Quoted texts spelled out: what a planner of our own reads instead of their BPE tokens.

How much room a text needs depends on its lines and letters, which BPE hides: "HELLO" may be one token or
three. So each byte of a quoted text is a token of its own, and before them stand three bytes that no text
contains: how many quotations come before it, how many after it, and how many columns wide it is. In the
captions that the prompt enhancer writes, each line is a quotation. (The released planner reads plain BPE.)
"""

from __future__ import annotations

from minglm.model.bpe import BPE, alphabet
from minglm.world.characters import columns
from minglm.world.quotes import quotations

BEFORE = bytes(range(0xF8, 0x100))           # UTF-8 never has these: 0, 1, ... quotations before
AFTER = bytes((0xC0, 0xC1, 0xF5, 0xF6, 0xF7))  # nor these: 0, 1, ... quotations after
WIDEST = 31                                  # width as a control character, which no poster has


class SpellingBPE(BPE):
    """A BPE that spells out what a prompt quotes. Its ids are not decoded to the same text."""

    def encode(self, text: str, specials: bool = False) -> list[int]:
        """Text -> ids; what is between quotation marks byte by byte, after its three numbers."""
        found, ids, end = quotations(text), [], 0
        for number, (a, b) in enumerate(found):
            line, later = text[a + 1:b - 1], len(found) - 1 - number
            numbers = (BEFORE[min(number, len(BEFORE) - 1)], AFTER[min(later, len(AFTER) - 1)],
                       min(columns(line), WIDEST))
            ids += super().encode(text[end:a + 1], specials)
            ids += [self.vocab[alphabet()[byte]] for byte in (*numbers, *line.encode(errors="replace"))]
            end = b - 1
        return ids + super().encode(text[end:], specials)
