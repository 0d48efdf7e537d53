"""The text that a prompt wants written but does not quote: 写着新年快乐, 红底白字：今日特价, saying OPEN.

Only where nothing is quoted, and only where it is clear where the text begins and ends; `quoting` adds the
quotation marks, so that all that follows reads one kind of prompt.
"""

from __future__ import annotations

import re

from minglm.world.chinese import MEASURES, NUMERAL, plain
from minglm.world.mentions import mentions
from minglm.world.quotes import quotations, quote, quoted

MOST = 16                                    # characters of a prompt that is taken for a text as a whole
REST = r"[^，,。；;：:\n\"“”「」]*[^，,。；;：:\s\"“”「」]"
# where a text ends: 写着早安两个字，写着早安的卡片
END = (r"(?=\s*(?:几个|[一两三四五六七八九]个)?的?(?:大字|字样|字)?"
       r"(?:的[\u4e00-\u9fff]{0,6}(?:海报|卡片|贺卡|牌子|图片?|横幅|标语|招牌|贴纸|封面)|$|[，,。；;\n]))")
WRITE = r"(?<![描书不别勿免手抄特听])写"
LOOKS = "(?:[\u4e00-\u9fff]{1,3}色的(?:大?字)?)?(?:名字|标题)?"
NO_WORDS = (r"(?!不要|没有|不用|随便|下?[你您]的|[字在的些点什得作真生法楼满几着著]|"
            rf"一?[首句段行些篇封个种张]|[大小]字|{NUMERAL}[{MEASURES}])")
# 字：今日特价, 写：静夜思; 写一个福字; 写着新年快乐的海报
PATTERNS = tuple(re.compile(one) for one in (
    rf"(?:(?:字|文字|标题|内容|文案|标语|{WRITE}[着上有道成下]?)(?:是|为)?\s*[：:]|[店书歌片]名[叫是为]|标题(?:是|为|叫做?))\s*{NO_WORDS}({REST})",
    rf"{WRITE}[着著上有道成下]?一?个(?:大大的|大)?([\u4e00-\u9fff]{{1,4}}?)字(?![\u4e00-\u9fff])",
    rf"{WRITE}[着著上有道成下]?\s*{LOOKS}{NO_WORDS}({REST.replace('*', '*?', 1)}){END}",
))
# saying: Grand opening; that says OPEN; saying Happy Birthday with a cake
ENGLISH = (
    re.compile(r"\b(?:say(?:s|ing)|reads?|reading|text|words?|title|caption)\s*:\s*(?!no\b|none\b)([^\s,.;:][^,.;:\n]*)",
               re.IGNORECASE),
    re.compile(r"\b(?:say(?:s|ing)|that reads) ((?:[A-Z][\w'’!?&-]*)(?: [A-Z0-9][\w'’!?&-]*)*)"
               r"(?=\s*[,.;\n]|\s*$| (?:and|with|on|in|at|next)\b)"),
)
ASKING = re.compile(f"[画写做给帮请]|设计|生成|来[个张点]|要[个张]|{NUMERAL}[{MEASURES}]|海报|图案")


def quoting(prompt: str) -> tuple[str, list[str]]:
    """(the prompt with its texts in quotation marks, the texts that had none)."""
    if quotations(prompt):
        return prompt, []
    read = plain(prompt)
    found = ([m.span(1) for m in one.finditer(read) if not is_look(m[1])] for one in (*PATTERNS, *ENGLISH))
    spans = next(filter(None, found), [])
    if not spans and is_text(read):
        start = len(prompt) - len(prompt.lstrip())
        spans = [(start, start + len(prompt.strip()))]
    out, end, texts = "", 0, [prompt[a:b] for a, b in spans]
    try:
        for (a, b), text in zip(spans, texts):
            out, end = out + prompt[end:a] + quote(text), b
    except ValueError:                       # it contains marks of every kind
        return prompt, []
    out += prompt[end:]
    return (out, texts) if quoted(out) == texts else (prompt, [])


def is_look(words: str) -> bool:
    """Whether words only say what a text looks like or where it is: 字：红色."""
    return [m.kind for m in mentions(words) if m.end - m.start == len(words.rstrip("的"))] in (
        ["colour"], ["place"], ["size"])


def is_text(prompt: str) -> bool:
    """Whether a prompt names nothing that could be painted and asks for nothing: it is what to write."""
    words = prompt.strip()
    chinese = re.search("[\u4e00-\u9fff]", words)
    shouted = words.upper() == words and re.search("[A-Z]{2}", words)
    return bool(words and len(words) <= MOST and (chinese or shouted) and not ASKING.search(words)
                and not any(m.kind not in ("aside", "noun", "number") for m in mentions(words)))
