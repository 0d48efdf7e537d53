"""Right and wrong answers to the checks of notebooks 00 and 01; with each wrong one some words of its diagnosis."""

import random
import zlib
from functools import partial

import numpy as np
import torch

from minglm.world import layout
from minglm.world.characters import is_wide
from minglm.world.colours import COLOURS
from minglm.world.explicit import PLACES_EN, counted_en
from minglm.world.layout import Letter, measure, pieces
from minglm.world.quotes import quotations, quote

# ---------------------------------------------------------------- 00


def mean_patches(ids, patches, count, least=1, of=None):
    out = []
    for i in range(count):
        mine = patches[ids == i]
        out.append(mine.sum(0) / max(least, of or len(mine)) if len(mine) or not least else torch.zeros_like(patches[0]))
    return torch.stack(out)


def written_over(ids, patches, count, divide=False):
    out = torch.zeros(count, *patches.shape[1:])
    out[ids] += patches
    return out / (ids == torch.arange(count)[:, None]).sum(1).clamp(min=1).view(-1, 1, 1, 1) if divide else out


def nearest_ids(picture, patches, best=torch.argmin, measure=lambda a, b: ((a - b) ** 2).sum((1, 2, 3)), turned=False):
    p = patches.shape[-1]
    rows, columns = picture.shape[1] // p, picture.shape[2] // p
    found = [[best(measure(picture[:, r * p:(r + 1) * p, c * p:(c + 1) * p], patches)) for c in range(columns)]
             for r in range(rows)]
    ids = torch.tensor(found)
    return ids.T.reshape(rows, columns) if turned else ids


# ---------------------------------------------------------------- 01: right answers, written anew


def fill(parts, text, room, most, strip=True, divide=True, join=True, fits=lambda width, room: width <= room, of=True):
    whole = text if of else None
    lines, queue = [], list(parts)
    while queue:
        part = queue.pop(0)
        if lines and join and fits(measure(lines[-1] + part, whole), room):
            lines[-1] = lines[-1] + part
            continue
        part = part.lstrip(" ") if strip else part
        if not divide or fits(measure(part, whole), most) or len(part) == 1:
            lines.append(part)
            continue
        n = 1
        while fits(measure(part[:n + 1], whole), room):
            n += 1
        lines.append(part[:n])
        rest, more = part[n:], []
        while rest and not fits(measure(rest, whole), most):     # what is left begins a line, whatever else there is
            n = max(k for k in range(1, len(rest)) if k == 1 or fits(measure(rest[:k], whole), room))
            more.append(rest[:n])
            rest = rest[n:]
        lines += [*more, rest] if rest else more
    return lines


def wrap(text, room, tight=0.8, even=True, further=0, floor=True, loose=False):
    out = []
    for paragraph in text.split("\n"):
        parts, most = pieces(paragraph), int(room / tight)
        widths = [measure(p.strip(), paragraph) for p in parts]
        room_ = most if loose else room
        least = max([w for w in widths if w <= room_] or [room_]) if floor else 16
        ways = [layout.fill(parts, paragraph, room_, most)]
        narrower = room_ // 16 * 16
        while even and narrower >= least:
            way = layout.fill(parts, paragraph, narrower, most if floor else narrower)
            if len(way) > len(ways[0]) + further:
                break
            ways.append(way)
            narrower -= 16
        out += ways[-1]
    return out


def set_line(line, x0, x1, y, onto=True, close=True, cell=16, shift=0):
    widths = np.array([32 if is_wide(c, line) else cell for c in line], dtype=float)
    left = np.cumsum([0, *widths[:-1]])
    room, total = x1 - x0, widths.sum()
    if total > room and close:
        return [Letter(c, is_wide(c, line), x0 + a * room / total, y, b * room / total)
                for c, a, b in zip(line, left, widths)]
    start = (room - total) / 2
    start = start // 16 * 16 if onto else start
    return [Letter(c, is_wide(c, line), x0 + start + shift + a, y, b) for c, a, b in zip(line, left, widths)]


def text_mask(batch, height=32, width=None, swap=False):
    out = np.zeros((len(batch), 1, batch[0].height, batch[0].width), np.float32)
    for i, poster in enumerate(batch):
        for letter in (letter for _, _, letters in poster.lines for letter in letters):
            rows = np.arange(out.shape[2])[:, None] if not swap else np.arange(out.shape[3])[None]
            columns = np.arange(out.shape[3])[None] if not swap else np.arange(out.shape[2])[:, None]
            x0, x1 = round(letter.x), round(letter.x + (width or letter.width))
            out[i, 0] += (rows >= letter.y) & (rows < letter.y + height) & (columns >= x0) & (columns < x1)
    return np.minimum(out, 1)


def luminance(colour, haze=0.05):
    channels = [v / 255 for v in COLOURS[colour][0]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
    return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear)) + haze


def readable(background, least=3.0):
    def contrast(colour):
        dark, light = sorted((luminance(colour), luminance(background)))
        return light / dark
    return tuple(colour for colour in COLOURS if contrast(colour) >= least)


def caption(rng, poster, often=0.5, shuffle=True, order=1):
    def now_and_then(words):
        return words if rng.random() < often else ""

    sheet = f"{now_and_then(poster.background)} {rng.choice(('poster', 'card', 'banner'))}"
    shown = " and ".join(counted_en(group) for group in poster.groups)
    shown += now_and_then(f" {PLACES_EN[poster.place]}") if shown else ""
    said = [quote(r.text) + now_and_then(f" in {r.colour}") + now_and_then(f" {PLACES_EN[r.slot]}")
            for r in poster.regions[::order]]
    parts = [sheet.strip(), *([shown] if shown else [])]
    if shuffle and rng.random() < 0.5:
        parts.reverse()
    return "; ".join([*parts, *said])


def held_out(*parts, joint="/", by=zlib.crc32, rest=0):
    return by(bytes(joint.join(parts), "utf-8")) % 10 == rest


# ---------------------------------------------------------------- 01: mistakes, and what is said of them


def without_haze(background):
    ratios = {colour: luminance(colour, 0) / luminance(background, 0) for colour in COLOURS}
    return tuple(colour for colour, ratio in ratios.items() if max(ratio, 1 / ratio) >= 3)


def unmarked(rng, poster):
    said = caption(rng, poster)
    for start, end in reversed(quotations(said)):
        said = said[:start] + said[start + 1:end - 1] + said[end:]
    return said


def elsewhere(rng, poster):
    other = {"left": "right", "right": "left", "top": "bottom", "bottom": "top", "centre": "left"}
    said = caption(rng, poster, shuffle=False)
    return said.replace(PLACES_EN[poster.place], PLACES_EN[other[poster.place]], 1) if poster.groups else said


def by_letter(parts, text, room, most):
    return fill(list(text), text, room, most)


def by_count(parts, text, room, most):
    """Divides by the number of characters, as if all were narrow."""
    lines = []
    for part in parts:
        if lines and measure(lines[-1] + part, text) <= room:
            lines[-1] += part
            continue
        part = part.lstrip(" ")
        while len(part) > 1 and measure(part, text) > most:
            n = min(room // 16, len(part) - 1)
            lines.append(part[:n])
            part = part[n:]
        lines.append(part)
    return lines


def painted_rows(batch):
    mask = text_mask(batch)
    return np.broadcast_to(mask.max(3, keepdims=True), mask.shape).copy()


def strokes(batch):
    ink = [(np.asarray(p.image) != np.array(COLOURS[p.background][0])).any(-1) for p in batch]
    return text_mask(batch) * np.stack(ink)[:, None]


RIGHT = dict(mean_patches=mean_patches, nearest_ids=nearest_ids, fill=fill, wrap=wrap, set_line=set_line, text_mask=text_mask,
             readable=readable, caption=caption, held_out=held_out)

WRONG = [
    ("mean_patches", lambda ids, patches, count: mean_patches(ids, patches, count, of=1), "this is the sum"),
    ("mean_patches", partial(mean_patches, least=0), "divided by zero"),
    ("mean_patches", lambda ids, patches, count: mean_patches(ids, patches, count, of=len(ids)), "number of all patches"),
    ("mean_patches", written_over, "keeps one patch"),
    ("mean_patches", partial(written_over, divide=True), "keeps one patch"),
    ("mean_patches", lambda ids, patches, count: mean_patches(ids, patches, count)[:-1], "a row for every id"),
    ("mean_patches", lambda ids, patches, count: mean_patches(ids, patches, count).mean((2, 3)), "shape is"),
    ("greedy_plan", lambda pipe, prompt, seed: pipe(prompt, enhance=False, top_p=0.3, seed=seed).plan[0], "a small top_p"),
    ("nearest_ids", partial(nearest_ids, best=torch.argmax), "differs most"),
    ("nearest_ids", partial(nearest_ids, best=torch.argmax, measure=lambda a, b: (a * b).sum((1, 2, 3))), "long patches"),
    ("nearest_ids", partial(nearest_ids, measure=lambda a, b: ((a.mean((1, 2)) - b.mean((2, 3))) ** 2).sum(1)),
     "mean colours"),
    ("nearest_ids", partial(nearest_ids, turned=True), "row by row"),
    ("nearest_ids", lambda picture, patches: nearest_ids(picture, patches).flatten(), "shape is"),
    ("fill", lambda parts, text, room, most: ["".join(parts)], "begin a new line"),
    ("fill", partial(fill, fits=lambda width, room: width < room), "exactly `room`"),
    ("fill", partial(fill, strip=False), "begin with a space"),
    ("fill", partial(fill, divide=False), "has to be divided"),
    ("fill", partial(fill, join=False), "line of its own"),
    ("fill", lambda parts, text, room, most: fill(parts, text, room, room), "stays whole"),
    ("fill", lambda parts, text, room, most: fill(parts, text, most, most), "only a single part"),
    ("fill", partial(fill, of=False), "pass `text` to measure"),
    ("fill", by_letter, "stays whole"), ("fill", by_count, "takes two cells"),
    ("fill", lambda *args: fill(*args)[:-1], "last line is missing"),
    ("wrap", partial(wrap, even=False), "not as equal"),
    ("wrap", partial(wrap, tight=1.0), "a fifth too long"),
    ("wrap", partial(wrap, tight=1.0, even=False), "not as equal"),
    ("wrap", partial(wrap, further=1), "one line too many"),
    ("wrap", partial(wrap, loose=True), "only a single word"),
    ("wrap", partial(wrap, floor=False), "widest part that fits"),
    ("wrap", lambda text, room: wrap(text.replace("\n", " "), room), "line break"),
    ("wrap", lambda text, room: "\n".join(wrap(text, room)), "is not"),
    ("set_line", partial(set_line, onto=False), "centred exactly"),
    ("set_line", partial(set_line, close=False), "set closer"),
    ("set_line", lambda line, x0, x1, y: [Letter(c, False, 0, y, 16) for c in line], "is not|off"),
    ("set_line", lambda line, x0, x1, y: [(c, x0, y) for c in line], "Letter objects"),
    ("set_line", lambda line, x0, x1, y: set_line(line, 0, x1 - x0, y), "x0 need not be 0"),
    ("set_line", lambda line, x0, x1, y: [
        Letter(c, is_wide(c, line), (x0 + x1) / 2 // 16 * 16 + 16 * i, y, 16) for i, c in enumerate(line)], "half of its width"),
    ("text_mask", partial(text_mask, height=16), "32 pixels high"),
    ("text_mask", partial(text_mask, width=16), "not 16 pixels"),
    ("text_mask", partial(text_mask, swap=True), "x runs along the columns"),
    ("text_mask", painted_rows, "not the whole row"),
    ("text_mask", strokes, "not only its strokes"),
    ("text_mask", lambda batch: 1 - text_mask(batch), "the other way round"),
    ("text_mask", lambda batch: text_mask(batch)[:, 0], "shape is"),
    ("readable", lambda b: readable(b, 4.5), "4.5"),
    ("readable", lambda b: tuple(c for c in COLOURS if luminance(c) / luminance(b) >= 3), "only lighter"),
    ("readable", without_haze, "0.05 is missing"),
    ("caption", lambda rng, p: caption(rng, p, order=-1), "not top, left, centre"),
    ("caption", unmarked, "quotation marks"),
    ("caption", lambda rng, p: caption(rng, p).lower(), "letters changed"),
    ("caption", elsewhere, "place is"),
    ("caption", lambda rng, p: caption(rng, p).replace("two", "three"), "objects are"),
    ("caption", lambda rng, p: caption(rng, p, often=1.0), "from 10 to 90 %"),
    ("caption", lambda rng, p: caption(rng, p, often=0.0), "from 10 to 90 %"),
    ("caption", lambda rng, p: caption(rng, p, shuffle=False), "begin with the same thing"),
    ("caption", lambda rng, p: caption(random, p), "all chance from rng"),
    ("caption", lambda rng, p: f"On a {p.background} poster there is nothing", "how evaluation asks"),
    ("caption", lambda rng, p: [caption(rng, p)], "a string is wanted"),
    ("held_out", lambda *parts: hash("/".join(parts)) % 10 == 0, "in every run of Python"),
    ("held_out", partial(held_out, rest=1), "rest 0"),
    ("held_out", partial(held_out, joint=""), "joined with a slash"),
    ("held_out", lambda *parts: not held_out(*parts), "the opposite"),
    ("held_out", lambda *parts: held_out(parts[0]), "not only the first"),
    ("held_out", lambda *parts: zlib.crc32("/".join(parts).encode()) % 100 == 0, "a tenth is wanted"),
    ("held_out", lambda *parts: zlib.crc32("/".join(parts).encode()), "True or False"),
]
