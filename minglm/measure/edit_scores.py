"""Scores of an edited picture: was what was asked for done, and is the rest as it was?

What was asked for is what the target has and the first source has not, so the checks are the same for every
kind of edit: new texts are read, in their colour and place; texts that go are not read any more; objects that
come are found where they belong, in their look and number, those that go are not; the new background is
there, and nothing is left where nothing should be. Where all is asked for (pictures joined; the same object
elsewhere), all objects of the target have to be found, also one that stands where it stood. The target passes
them all, the source never does.

The rest is compared with the target outside the edit's region, where source and target are the same: by SSIM
and by mean distance. Where all of a picture is new (another style, several pictures joined), there is no
rest, and the whole is compared.

Shapes: H, W pixels.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from minglm.images import rgb
from minglm.measure.ocr import Found, Judge
from minglm.measure.scores import bounds, drawn_at, ink, lines_of, score_text, similarity
from minglm.measure.ssim import luma, ssim_map
from minglm.world.colours import COLOURS
from minglm.world.edits import KINDS
from minglm.world.find import Box, background, find_objects
from minglm.world.layout import CELL
from minglm.world.looks import PLAIN, VISIBLE, Look, difference
from minglm.world.posters import Region
from minglm.world.scenes import Edit, Part, missing, parts
from minglm.world.styles import STYLES, restyle

NEAR = 60                                    # in RGB distance: still the background's colour
BARE = 0.9                                   # of what should be background that has to be
EDGE = 2                                     # pixels beside letters and objects, where colours blend
ALL = ("combine", "identity")                # kinds that ask for every object of the target
STILL = 0.8                                  # similarity from which a line read is an old text still there


def score_edit(judge: Judge, picture: Image.Image, edit: Edit) -> dict:
    """The scores of a picture painted for an edit: `checks` by name, `made`, whether all are passed, and of
    the rest `ssim` and `distance` (0..1). A picture of another size than the target has nothing right."""
    if picture.size != edit.target.image.size:
        return dict(checks=dict(size=False), made=False, ssim=0.0, distance=1.0)
    checks = check_style(picture, edit) if edit.target.style else check_made(judge, picture, edit)
    return dict(checks=checks, made=all(checks.values())) | kept(picture, edit)


# ---------------------------------------------------------------- the rest

def kept(picture: Image.Image, edit: Edit) -> dict[str, float]:
    """How well the rest is kept: mean SSIM and mean distance (0..1) to the target outside the region."""
    rest = ~edit.region
    if not rest.any():
        rest[:] = True
    pixels, target = (np.asarray(rgb(one), dtype=np.float64) for one in (picture, edit.target.image))
    # a window at the border would see what was asked for: inside, both show the target
    seen = np.where(rest[..., None], pixels, target)
    return dict(ssim=float(ssim_map(luma(seen), luma(target))[rest].mean()),
                distance=float(np.abs(pixels - target)[rest].mean() / 255))


# ---------------------------------------------------------------- what was asked for

def check_style(picture: Image.Image, edit: Edit) -> dict[str, bool]:
    """Whether the source in the asked style is what the picture is nearest to, of all styles and none."""
    plain = replace(edit.target, style="")
    boxes = [box for _, box in plain.boxes]
    pixels = np.asarray(rgb(picture), dtype=np.float32)
    distances = {style: float(np.abs(pixels - np.asarray(restyle(plain.image, style, boxes))).mean())
                 for style in ("", *STYLES)}
    return dict(style=min(distances, key=distances.get) == edit.target.style)


def check_made(judge: Judge, picture: Image.Image, edit: Edit) -> dict[str, bool]:
    """Everything that the target has and the first source has not, and the other way round."""
    source, target = edit.sources[0], edit.target
    found = judge.read(picture)
    come, gone = missing(target.regions, source.regions), missing(source.regions, target.regions)
    if edit.kind == "combine":               # the first picture may have had it, but in another frame
        come, gone = target.regions, ()
    checks = check_texts(picture, found, edit, come)
    shown, read = [region.text for region in target.regions], [one.text for one in found]
    left = [old.text for old in gone if not like(old.text, shown)]
    if left:
        checks["text_gone"] = not any(like(old, read) for old in left)
    old, new = parts(source), parts(target)
    changed = [part for part in (new if edit.kind in ALL else missing(new, old)) if part.thing]
    names = {part.thing for part in (*changed, *missing(old, new)) if part.thing}
    if names:
        checks |= check_objects(picture, found, edit, changed, names)
    if target.background != source.background or edit.kind == "combine":
        checks["background"] = background(picture) == target.background
    return checks | dict(bare=is_bare(picture, edit))


def like(text: str, others: list[str]) -> bool:
    """Whether a text is among others, or nearly."""
    return any(similarity(text, other) >= STILL for other in others)


def check_texts(picture: Image.Image, found: list[Found], edit: Edit, texts: tuple[Region, ...]) -> dict:
    """Whether texts are read as they should be, in their colours, where the target has them."""
    if not texts:
        return {}
    pixels, ground = np.asarray(rgb(picture), dtype=np.float32), background(picture)
    right = score_text([region.text for region in texts], found)["right"]
    lines = [lines_of(region, found, picture.height, picture.width) for region in texts]
    return dict(
        text=all(right),
        text_colour=all(mine and all(ink(pixels, ground, one.box) == region.colour for one in mine)
                        for region, mine in zip(texts, lines)),
        text_place=all(mine and drawn_at(edit.target, region, bounds([one.box for one in mine]))
                       for region, mine in zip(texts, lines)),
    )


def check_objects(picture: Image.Image, found: list[Found], edit: Edit, changed: list[Part],
                  names: set[str]) -> dict[str, bool]:
    """Whether the objects that change are there in number and look, and stand where the target has them."""
    target, texts, looks = edit.target, [], {}
    for region in target.regions:
        texts += [one.box for one in lines_of(region, found, picture.height, picture.width)]
    for name, look in target.looks:          # and those nearly like it, for which it must not be taken
        looks |= {f"{name}*": (name, look)} | {
            f"{name}* but {i}": (name, other) for i, other in enumerate(nearly(name, look))}
    label = {name: f"{name}*" if f"{name}*" in looks else name for name in names}
    seen = find_objects(picture, texts, looks=looks)
    counts, wanted = Counter(name for name, _ in seen), Counter(name for name, _ in target.boxes)
    return dict(
        object=all((counts[label[name]] > 0) == (wanted[name] > 0) for name in names),
        count=all(counts[label[name]] == wanted[name] for name in names),
        place=all(any(name == label[part.thing] and beside(box, part.box) for name, box in seen)
                  for part in changed),
    )


def nearly(name: str, look: Look) -> list[Look]:
    """Looks that differ from one in a single feature, if that is seen. (The usual look is always known.)"""
    some = (dict(hue=0), dict(flip=not look.flip), dict(turn=0), dict(mark=""))
    others = [replace(look, **feature) for feature in some]
    return [one for one in others if one != PLAIN and difference(name, look, one) > VISIBLE]


def beside(a: Box, b: Box) -> bool:
    """Whether two boxes have their centres less than a cell apart."""
    return all(abs(a[i] + a[i + 2] - b[i] - b[i + 2]) < 2 * CELL for i in (0, 1))


def is_bare(picture: Image.Image, edit: Edit) -> bool:
    """Whether what should be background, where something changes, is background."""
    colour = np.array(COLOURS[edit.target.background][0])
    full = Image.fromarray((np.asarray(edit.target.image) != colour).any(-1))
    close = full.convert("L").filter(ImageFilter.MaxFilter(2 * EDGE + 1))        # to something
    bare = edit.region & (np.asarray(close) == 0)
    off = np.linalg.norm(np.asarray(rgb(picture), dtype=np.float32) - colour, axis=-1)
    return not bare.any() or float((off[bare] < NEAR).mean()) >= BARE


# ---------------------------------------------------------------- reports

def summarise_edits(results: list[tuple[Edit, dict]]) -> dict[str, dict[str, float]]:
    """Edits with their scores -> means of `made`, `ssim` and `distance`: all, by language, by kind."""
    groups = defaultdict(list)
    for edit, scores in results:
        for group in ("all", edit.language, edit.kind):
            groups[group].append(scores)
    return {group: dict(edits=len(some)) | {name: round(sum(one[name] for one in some) / len(some), 4)
                                            for name in ("made", "ssim", "distance")}
            for group in ("all", "en", "zh", *KINDS) if (some := groups[group])}


def format_edits(summary: dict[str, dict[str, float]]) -> str:
    """The report as text, a row per kind."""
    rows = [f"{'edits':<20}{'number':>8}{'made':>8}{'ssim':>8}{'distance':>10}"]
    rows += [f"{group:<20}{one['edits']:>8}{one['made']:>8.3f}{one['ssim']:>8.3f}{one['distance']:>10.4f}"
             for group, one in summary.items()]
    return "\n".join(rows)
