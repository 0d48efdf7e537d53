"""Changes of mind: of what is said anew after "no wait", "scratch that" or 不对, only the last counts.

    blue background, a cat ... scratch that, make it yellow -> a cat on yellow
"""

from __future__ import annotations

import re
from dataclasses import replace

from minglm.world.asked import joined
from minglm.world.mentions import Mention
from minglm.world.quotes import masked

NEW = r"(?:(?<=[,.?!;:…—–(-])|(?<=[,.?!;:…—–(-] )|(?<=but )|(?<=\n))"              # where a clause begins
NEW_ZH = r"(?:(?<=[，。！？；：…—\s])|(?<=[哦噢啊呃嗯唉哎]))"
# all that was said of it is taken back
ALL = re.compile(
    r"\b(scratch that|strike that|cancel that|forget (that|it)\b|never ?mind( that)?|start over)|"
    rf"{NEW_ZH}(算了|重来|重新来)", re.IGNORECASE)
MARK = re.compile(
    rf"{ALL.pattern}|{NEW}(no,? wait|wait,? no|wait(?=[,.!…—–-])|hmm+,? no|no(?=\s?[,:!.…—–-])|nah|nope|"
    r"or rather|sorry,|oops|actually|on second thoughts?|come to think of it|"
    r"(?=[^,.;!?\n]*\binstead\b(?! of)))|"
    r"\b(i mean|i meant|changed? my mind|(change|switch|turn) (it|that|this) (in)?to)\b|"
    rf"{NEW_ZH}(不对|不不+|不行|说?错了|等等|等一下|应该是|不如|我是说|更正|干脆|不(?=[，！…])|"
    r"还是(?=[^，。；！？]*[吧好])|就(?=[^，。；！？]{1,6}吧))|改成|改为|改用|换成|换为|改主意了?|太[多少]了?",
    re.IGNORECASE)
# objects named anew are more, or where the others are: no wait, add a bee; no wait, on a beach
MORE = re.compile(
    r"[\s,，]*((on|in|at|against|behind|over)\b|"
    r"[^,.;!?，。；！？]*?(\b(add|also|too|as well|plus|another|with)\b|再|加|还有|还要|也))", re.IGNORECASE)
CLAUSE = re.compile(r"[.;!?，。；！？…\n]|,\s")
SENTENCE = re.compile(r"[.;!?。；！？\n]")
FAR = 40                                     # characters, after which it is something else that is told
CONTENT = ("colour", "thing", "text")


def corrected(prompt: str, found: list[Mention]) -> list[Mention]:
    """The mentions, with those that a later one takes the place of as asides."""
    out, words = list(found), masked(prompt)
    for mark in MARK.finditer(words):
        old = [i for i, m in enumerate(out) if m.end <= mark.start()]
        first = next((m for m in out if m.kind in CONTENT and m.start >= mark.end()), None)
        if not old or first is None or first.start - mark.end() > FAR:
            continue
        everything = ALL.fullmatch(words, mark.start(), mark.end()) is not None
        stop = (SENTENCE if everything else CLAUSE).search(words, first.end)
        new = [i for i, m in enumerate(out)
               if mark.end() <= m.start < (stop.start() if stop else len(words)) and m.kind in CONTENT]
        for i in replaced(prompt, out, old, new, everything, MORE.match(words, mark.end()) is not None):
            out[i] = replace(out[i], kind="aside")
    return out


def replaced(prompt: str, found: list[Mention], old: list[int], new: list[int], everything: bool, more: bool
             ) -> set[int]:
    """The old mentions in whose place the new ones stand: colours of the same, objects, a text.

    everything: all of the sentence before, not only as many as are named anew. more: the objects stay.
    """
    gone = set()
    for whose in {owner(prompt, found, i) for i in new if found[i].kind == "colour"}:
        same = [i for i in old if found[i].kind == "colour" and owner(prompt, found, i) == whose]
        gone |= set(same if everything else same[-1:])
    things = [found[i].value for i in new if found[i].kind == "thing"]
    before = [i for i in old if found[i].kind == "thing"]
    if things and not more:
        again = {i for i in before if found[i].value in things}
        gone |= again
        if everything and before:
            whole = prompt[:found[before[-1]].start]
            start = max((told.end() for told in SENTENCE.finditer(whole)), default=0)
            gone |= {i for i in before if found[i].start >= start}
        elif not again:
            gone |= set(before[-len(things):])
    if found[new[0]].kind == "text":
        gone |= set([i for i in old if found[i].kind == "text"][-1:])
    return gone


def owner(prompt: str, found: list[Mention], i: int) -> str:
    """Of what colour number i is, roughly: of an object, of the letters, or of the ground."""
    last, m, following = found[i - 1] if i else None, found[i], found[i + 1] if i + 1 < len(found) else None
    if following and following.kind in ("thing", "letters", "text") and joined(prompt, m, following, 9):
        return "thing" if following.kind == "thing" else "letters"
    written = last and last.kind in ("letters", "text") and joined(prompt, last, m, 9)
    return "letters" if written else "ground"
