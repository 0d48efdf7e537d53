"""Checks of the exercises in notebook 01, Draw the data.

Shapes: B posters · H, W pixels.
"""

from __future__ import annotations

import random
import re
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple

import numpy as np
import torch
from torch import Tensor

from minglm.course.answers import Case, Wrong, call, run
from minglm.world import layout, masks, quotes, texts
from minglm.world.characters import is_wide
from minglm.world.colours import COLOURS, luminance, text_colours
from minglm.world.draw import draw
from minglm.world.explicit import explicit_en
from minglm.world.layout import CELL, PITCH, TIGHT, Letter, measure, pieces
from minglm.world.mentions import mentions
from minglm.world.posters import Poster
from minglm.world.reading import read


def fill(learner: Callable) -> None:
    """fill(parts, text, room, most): the lines of a text, each filled to at most `room` pixels before the
    next one is begun; a wider part has a line for itself, and is divided if it is wider than `most`."""
    def filled(parts: list[str], text: str | None, room: int, most: int, strip: bool = True, fits=measure,
               divide: bool = True, join: bool = True, least: int = 0, after: bool = True) -> list[str]:
        lines, open_ = [], False
        for part in parts:
            if open_ and join and measure(lines[-1] + part, text) <= room - least:
                lines[-1] += part
                continue
            part, cut = part.lstrip() if strip else part, False
            while divide and len(part) > 1 and measure(part, text) > most - least:
                count = max(1, max(n for n in range(len(part)) if fits(part[:n], text) <= room - least))
                lines.append(part[:count])
                part, cut = part[count:], True
            lines.append(part)
            open_ = after or not cut
        return lines

    def case(text: str, room: int, most: int) -> Case:
        given = parts, text, room, most = pieces(text), text, room, most
        right = layout.fill(*given)
        wrong = {
            "a part that does not fit has to begin a new line": ["".join(parts)],
            "a line may be exactly `room` pixels wide": filled(*given, least=1),
            "a line does not begin with a space: lstrip the part": filled(*given, strip=False),
            "a part that is wider than `most` has to be divided": filled(*given, divide=False),
            "a part wider than `room`, but not than `most`, stays whole": filled(parts, text, room, room),
            "only a single part may be wider than `room`": filled(parts, text, most, most),
            "only a part that does not fit begins a line of its own": filled(*given, join=False),
            "what is left of a divided part shares its line with the next": filled(*given, after=False),
            "a word that fits a line of its own stays whole": filled(list(text), text, room, most),
            "pass `text` to measure: how wide a “ is depends on the whole text":
                filled(parts, None, room, most),
            "a wide character takes two cells: measure": filled(*given, fits=lambda s, _: PITCH * len(s)),
            "the last line is missing": right[:-1]}
        return Case(given, right, {why: one for why, one in wrong.items() if one != right})

    run("fill", learner, case("Story time for all", 144, 180), case("Good morning", 160, 160),
        case("Good morning", 12 * PITCH, 240), case("Supercalifragilistic expialidocious", 160, 200),
        case("Generating abcdefghijklmnopq no more", 160, 200), case("Generating a lot", 128, 160),
        case("Go!", 160, 200), case("祝你生日快乐，天天开心！", 160, 160),
        case("“Yes” and “No”，对吗", 160, 160), case("太好了！！！！！！", 128, 160))


def wrap(learner: Callable) -> None:
    """wrap(text, room): the lines of a text, as few as possible, then as equal in length as possible."""
    def wrapped(text: str, room: int, tight: float = TIGHT, even: bool = True, further: int = 0,
                floor: bool = True, kept: bool = True, loose: bool = False) -> tuple[str, ...]:
        found = []
        for paragraph in text.split("\n") if kept else [text.replace("\n", " ")]:
            parts, most = pieces(paragraph), int(room / tight)
            widest = most if loose else room
            fewest = len(lines := layout.fill(parts, paragraph, widest, most))
            widths = [measure(part.strip(), paragraph) for part in parts]
            least = max([width for width in widths if width <= widest], default=widest) if floor else PITCH
            for narrower in range(widest // PITCH * PITCH, least - 1, -PITCH) if even else ():
                better = layout.fill(parts, paragraph, narrower, most if floor else narrower)
                if len(better) > fewest + further:
                    break
                lines = better
            found += lines
        return tuple(found)

    def case(text: str, room: int) -> Case:
        right = layout.wrap(text, room)
        wrong = {
            "these lines are as few as possible, but not as equal: lower the room while that holds":
                wrapped(text, room, even=False),
            "a word may be a fifth too long: `most` is room / TIGHT": wrapped(text, room, tight=1),
            "only a single word may be too long: fill `room`, not `most`": wrapped(text, room, loose=True),
            "this is one line too many; the last room was right": wrapped(text, room, further=1),
            "a word is divided: never go below the widest part that fits": wrapped(text, room, floor=False),
            "a line break is kept: wrap each paragraph by itself": wrapped(text, room, kept=False)}
        return Case((text, room), right, {why: one for why, one in wrong.items() if one != right})

    run("wrap", learner, case("Open", 128), case("Birthdays are a big day", 160),
        case("Welcome to our big sale", 256), case("Welcome everybody", 144), case("Fish\nand chips", 256),
        case("祝你生日快乐，天天开心！", 128), case("Generating a big day", 128))


def set_line(learner: Callable) -> None:
    """set_line(line, x0, x1, y): the Letters of one line, centred between x0 and x1; at full pitch on a grid
    of 16 pixels that begins at x0, else set closer, to fill the room."""
    def asked(line: str, x0: float, x1: float, y: float) -> list[tuple]:
        got = learner(line, x0, x1, y)
        if got is not None and not all(isinstance(one, Letter) for one in got):
            raise Wrong("set_line: a list of Letter objects is wanted, one for each character")
        return None if got is None else [astuple(one) for one in got]

    def placed(line: str, x0: float, x1: float, y: float, grid: float = 1, scaled: bool = True,
               double: bool = True, base: float | None = None) -> list[tuple]:
        cells = [1 + (is_wide(c, line) and double) for c in line]
        scale = min(1.0, (x1 - x0) / max(1, PITCH * sum(cells))) if scaled else 1.0
        x, found = (x0 + x1) / 2 - scale * PITCH * sum(cells) / 2, []
        if scale == 1 and grid:
            rest = (x - (x0 if base is None else base)) % PITCH
            x += -rest if grid == 1 or not rest else PITCH - rest
        for c, n in zip(line, cells):
            found.append((c, is_wide(c, line), x, y, scale * PITCH * n))
            x += scale * PITCH * n
        return found

    def case(*args) -> Case:
        line, x0, x1, y = args
        right = [astuple(one) for one in layout.set_line(*args)]
        wrong = {
            "the line is centred exactly: at full pitch move it left onto the grid of 16 pixels":
                placed(*args, grid=0),
            "an odd line stands half a letter left of the centre, not right": placed(*args, grid=2),
            "a line that is too wide is set closer: every width times (x1 - x0) / width":
                placed(*args, scaled=False),
            "a wide character takes two cells, 32 pixels": placed(*args, double=False),
            "the grid begins at x0, not at 0": placed(*args, base=0),
            "the line is centred between x0 and x1, and x0 need not be 0":
                [(c, w, x - x0, *rest) for c, w, x, *rest in right],
            "a line begins half of its width left of the middle":
                [(c, w, x + (x0 + x1) / 2 - right[0][2], *rest) for c, w, x, *rest in right]}
        return Case(args, right, {why: one for why, one in wrong.items() if one != right})

    run("set_line", asked, case("Hello", 0, 128, 96), case("Go!", 64, 128, 48), case("早上好", 0, 128, 0),
        case("No.7楼", 8, 136, 32), case("Good morning", 0, 160, 64), case("Congrats!", 0, 128, 96),
        case("生日快乐啊", 40, 176, 32))


# ---------------------------------------------------------------- pixels and colours


def text_mask(learner: Callable) -> None:
    """text_mask(batch): posters -> (B, 1, H, W), 1.0 inside the cells of letters and 0.0 elsewhere."""
    def case(seed: int, height: int, width: int) -> Case:
        batch = [draw(seed, i, height, width) for i in range(4)]
        right = masks.text_mask(batch)

        def painted(narrow: bool = False, half: bool = False, line: bool = False) -> Tensor:
            out = torch.zeros_like(right)
            for i, poster in enumerate(batch):
                for _, _, letters in poster.lines:
                    for one in letters:
                        far = one.x + (PITCH if narrow else one.width)
                        columns = slice(None) if line else slice(round(one.x), round(far))
                        out[i, 0, int(one.y):int(one.y) + (PITCH if half else CELL), columns] = 1
            return out

        ink = np.stack([(np.asarray(one.image) != COLOURS[one.background][0]).any(-1) for one in batch])
        wrong = {
            "x runs along the columns and y along the rows: mask[i, 0, rows, columns]": right.mT,
            "a wide character is as wide as its letter says, not 16 pixels": painted(narrow=True),
            "a cell is CELL = 32 pixels high": painted(half=True),
            "only the cells of the letters, not the whole row": painted(line=True),
            "the whole cell of a letter, not only its strokes": right * torch.from_numpy(ink)[:, None],
            "1 inside the cells and 0 elsewhere, not the other way round": 1 - right}
        return Case((batch,), right, wrong)

    run("text_mask", learner, case(3, 128, 128), case(5, 96, 160))


def readable(learner: Callable) -> None:
    """A background's name -> the names of the colours with a contrast of at least 3, in the order of
    COLOURS."""
    def chosen(background: str, least: float = 3, haze: float = 0.05, both: bool = True) -> tuple[str, ...]:
        light = {name: luminance(rgb) + haze for name, (rgb, _) in COLOURS.items()}
        ratios = {name: one / light[background] for name, one in light.items()}
        return tuple(name for name, r in ratios.items() if max(r, 1 / r if both else 0) >= least)

    run("readable", learner, *(Case((name,), text_colours(name), {
        "only lighter colours found; divide the larger luminance by the smaller": chosen(name, both=False),
        "0.05 is missing: add it to both luminances before dividing": chosen(name, haze=1e-9),
        "a contrast of 3 is enough; 4.5 is the rule for small text": chosen(name, least=4.5),
    }) for name in ("white", "gray", "black", "orange")))


# ---------------------------------------------------------------- captions, and what is held out


def understood(caption: str, poster: Poster) -> tuple[dict[str, bool], str]:
    """Which facts a caption tells, as the enhancer's reader understands it, and the first that it gets wrong
    ("" if there is none)."""
    asked, told = read(caption), {}
    shown, drawn = (Counter({g.thing: g.count for g in one.groups}) for one in (asked, poster))
    if shown != drawn:
        return told, f"objects are {dict(shown)}, and those of the poster {dict(drawn)}"
    facts = [("background", asked.background, poster.background)]
    facts += [("place", asked.place, poster.place), ("size", asked.size, poster.size)] if drawn else []
    for one, region in zip(asked.texts, poster.regions):
        facts += [("slot", one.slot, region.slot), ("colour", one.colour, region.colour)]
    for name, said, true in facts:
        if said not in (None, true):
            return told, f"{name} is {said}, and that of the poster {true}"
        told[name] = said is not None
    return told, ""


def caption(learner: Callable) -> None:
    """caption(rng, poster): an English caption that quotes every text in reading order, names every object,
    says nothing wrong, and leaves out background, places or colours now and then; all chance is rng's."""
    counts, told, first, different = Counter(), Counter(), Counter(), []
    posters = [draw(5, i, language="en") for i in range(60)]
    for i, poster in enumerate(one for one in posters if not understood(explicit_en(one), one)[1]):
        made = [made_caption(learner, f"{i}/{seed}", poster) for seed in range(6)]
        different.append(len({*made}))
        for text in made:
            facts, wrong = understood(text, poster)
            if wrong:
                raise Wrong(f"caption: as the enhancer understands {text!r}, the {wrong}")
            counts.update({*facts})
            told.update(name for name, is_told in facts.items() if is_told)
            known = (m.kind for m in mentions(text) if m.kind in ("sheet", "colour", "thing", "text"))
            said = next(known, "nothing")
            first[{"colour": "sheet"}.get(said, said)] += 1
    for name in ("background", "place", "slot", "colour"):
        share = told[name] / counts[name]
        if not 0.1 <= share <= 0.9:
            raise Wrong(f"caption: {share:.0%} of the captions tell the {name}; from 10 to 90 % should: "
                        "people leave things out, though not always")
    if max(first.values()) > 0.95 * sum(first.values()):
        raise Wrong("caption: all captions begin with the same thing; change the order now and then")
    if sum(different) < 3 * len(different):
        raise Wrong("caption: six captions of one poster are nearly always the same: vary the wording")
    print(f"caption: right, {6 * len(different)} captions")


def made_caption(write: Callable, seed: str, poster: Poster) -> str:
    """A learner's caption; raises Wrong unless the seed decides it and it quotes what it has to."""
    text = call("caption", write, random.Random(seed), poster)
    if not isinstance(text, str):
        raise Wrong(f"caption: a string is wanted, and this is a {type(text).__name__}")
    if text != call("caption", write, random.Random(seed), poster):
        raise Wrong("caption: the same rng gives another caption; take all chance from rng, none from random")
    if re.match(r"On an? \w+ poster (there|stand)", text):
        raise Wrong("caption: 'On a red poster there is' is how evaluation asks; training must not")
    wanted, found = [region.text for region in poster.regions], quotes.quoted(text)
    if found != wanted:
        if sorted(found) == sorted(wanted):
            why = "the order is not top, left, centre, right, bottom"
        elif [one.casefold() for one in found] == [one.casefold() for one in wanted]:
            why = "the letters changed"
        else:
            why = "every text needs quotation marks, of a kind that it does not contain itself"
        raise Wrong(f"caption: given {text!r} the model would write {found}, not {wanted}: {why}")
    return text


def held_out(learner: Callable) -> None:
    """held_out(*parts): True for a tenth of all texts and pairs, by the checksum of their names."""
    singles = [(text,) for name in ("en_words", "zh_words") for text in texts.words(name)[:300]]
    pairs = [pair for i in range(60) for pair in ((f"thing {i}", "left"), (f"th{i}", "ing"))]

    def asked(function: Callable, of: list[tuple[str, ...]]) -> list[bool]:
        return [function(*parts) for parts in of]

    def rule(joint: str = "/", rest: int = 0, out_of: int = 10) -> Callable:
        return lambda *parts: zlib.crc32(joint.join(parts).encode()) % out_of == rest

    wrong = {
        "hash() of a text is another number in every run of Python: use zlib.crc32":
            lambda *parts: hash("/".join(parts)) % 10 == 0,
        "a tenth is wanted: the rest of the division by 10": rule(out_of=100),
        "held out is what leaves the rest 0": rule(rest=1),
        "all but a tenth are held out: this is the opposite": lambda *parts: not texts.held_out(*parts),
        "the parts of a pair are joined with a slash, or ('a', 'bc') and ('ab', 'c') are the same": rule(""),
        "all parts of a pair count, not only the first": lambda *parts: texts.held_out(parts[0]),
        "return the comparison itself, True or False": lambda *parts: zlib.crc32("/".join(parts).encode())}

    def case(of: list[tuple[str, ...]]) -> Case:
        right = asked(texts.held_out, of)
        found = {why: asked(function, of) for why, function in wrong.items()}
        return Case((of,), right, {why: one for why, one in found.items() if one != right})

    run("held_out", lambda of: asked(learner, of), case(singles), case(pairs))
