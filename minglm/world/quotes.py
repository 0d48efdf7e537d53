"""The texts that a prompt quotes, and the quotation marks used in captions.

Keyboards differ in their quotation marks, and word processors and chat programs replace them, so any mark of
a family opens and any closes: “HELLO", „HELLO“, »HELLO«, 『你好」. Apostrophes (it's, l'arbre, the '90s, rock
'n' roll) and inch marks (12") are not quotation marks.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache

DOUBLE = '"“”„‟«»＂〝〞〟'                    # each opens or closes
SINGLE = "'‘’‚‛‹›＇"                          # likewise, unless a letter is adjacent on the outer side
OPENING, CLOSING = "「『《〈｢", "」』》〉｣"
LETTER = re.compile(r"[0-9A-Za-z\u00c0-\u024f]")
ELISION = re.compile(r"(\d0s|tis|twas|til|em|cause)\b", re.IGNORECASE)  # after an apostrophe: 'tis, the '90s
# between two words: rock 'n' roll, Rock 'N' Roll; but not the letter 'n' in red
AND = re.compile(
    r"(?<=[A-Za-z] )(?<!etter )['‘’＇](n['‘’＇]? (?!(in|on|at|and|with|for)\b)[A-Za-z]|N['‘’＇]? [A-Z])"
)
# as typed for TeX and in chats: ``Hello'', `Hello`
TEX = re.compile(
    r"(?<![0-9A-Za-z`])(``(?:[^`'\n]|'(?!'))+(?:``|'')|`[^` \n](?:[^`\n]*[^` \n])?`)(?![`0-9A-Za-z])"
)
QUOTES = {"en": ('""', '""', '""', "“”", "''"), "zh": ("“”", "“”", "“”", "「」", '""')}


def quotations(prompt: str) -> list[tuple[int, int]]:
    """The (start, end) of a prompt's quotations, marks included, in order; in time linear in its length.

    Without a closing mark, or empty, it is not a quotation. Other marks inside a quotation are text.
    """
    found, at, scanned = [], 0, dict.fromkeys((DOUBLE, SINGLE, OPENING), 0)
    while at < len(prompt):
        if told := TEX.match(prompt, at):
            more = prompt.startswith("``", at)           # of two marks, only the inner one counts as mark
            found.append((at + more, told.end() - more))
            at = told.end()
            continue
        family, end = next((f for f in scanned if prompt[at] in f), None), None
        if family and at >= scanned[family] and opens(prompt, at):
            closed, stop = closing(prompt, at, family)
            end = stop if closed else None
            scanned[family] = 0 if closed else stop      # no closing mark up to there: do not search it again
        if end is not None and end > at + 1:
            found.append((at, end + 1))
        at = at + 1 if end is None else end + 1
    return found


def opens(prompt: str, at: int) -> bool:
    """Whether the mark at index `at` may open a quotation."""
    before, after = prompt[at - 1:at], prompt[at + 1:at + 2]
    if prompt[at] in SINGLE:
        return not (LETTER.match(before) or ELISION.match(prompt, at + 1) or AND.match(prompt, at))
    return not (prompt[at] == '"' and before.isdecimal() and after in ("", " ", "x", "×", ",", "."))  # inches


def closing(prompt: str, at: int, family: str) -> tuple[bool, int]:
    """(whether a mark closes the quotation opened at `at`, its index or where the search ended)."""
    marks = CLOSING if family == OPENING else family
    for i in range(at + 1, len(prompt)):
        if family == SINGLE and prompt[i] == "\n":
            return False, i
        if prompt[i] in marks and not (
            family == SINGLE and (LETTER.match(prompt, i + 1) or AND.match(prompt, max(0, i - 2)))
        ):
            return True, i
    return False, len(prompt)


def quoted(prompt: str) -> list[str]:
    """The texts that a prompt quotes, in order, without their marks.

    GLM-Image's own parser takes any two apostrophes for quotes and groups by kind of quote (as_published.py).
    """
    return [prompt[a + 1:b - 1] for a, b in quotations(prompt)]


def unpaired(prompt: str) -> str | None:
    """The first quotation mark without a partner, or with nothing between the two; None if there is none.

    Not a single mark, which may as well be an apostrophe.
    """
    paired = {i for start, end in quotations(prompt) for i in range(start, end)}
    marks = DOUBLE + OPENING + CLOSING
    alone = (c for i, c in enumerate(prompt) if c in marks and i not in paired and opens(prompt, i))
    return next(alone, None)


def unquoted(prompt: str) -> str:
    """The prompt with its quotations emptied: “HELLO” becomes “”."""
    out, end = "", 0
    for a, b in quotations(prompt):
        out, end = out + prompt[end:a + 1], b - 1
    return out + prompt[end:]


@lru_cache(maxsize=1)                        # asked once for every object of a prompt
def masked(prompt: str) -> str:
    """The prompt with its quotations blanked out, as long as before."""
    out = list(prompt)
    for a, b in quotations(prompt):
        out[a + 1:b - 1] = "\0" * (b - a - 2)
    return "".join(out)


def quote(text: str, rng: random.Random | None = None, language: str = "en") -> str:
    """A text in quotation marks: straight double ones, or any pair with `rng`. Never in marks it contains."""
    pairs = [rng.choice(QUOTES[language])] if rng else []
    pairs += ['""', "“”", "「」", "『』", "«»"]
    for opening, closing in pairs:
        marked = opening + text + closing
        if quoted(marked) == [text]:
            return marked
    raise ValueError(f"{text!r} contains every kind of quotation marks")
