"""Right and wrong answers to the checks of notebook 11; with each wrong one some words of its diagnosis."""

from functools import partial

import numpy as np
import torch

from minglm.course import mistaken
from minglm.course.answers import normal
from minglm.generate.paint import glyphs
from minglm.generate.plan import sample_ids
from minglm.images import to_images

C1, C2 = 6.5025, 58.5225


def prompt(sources, text, config, order=1, last=False, columns=False, parts=lambda p: p):
    ids, shapes = [], []
    for source in sources[::order]:
        ids += [config.boi] + [int(i) for row in (source.T if columns else source) for i in row] + [config.eoi]
    for source in sources:
        shapes += [1, tuple(source.shape), 1]
    return (list(text) + ids if last else ids + list(text)), parts([*shapes, len(text)])


def distance(shapes, text, which, longer=max, marks=1, later=True):
    """By counting up."""
    count = text
    for number in reversed(range(which, len(shapes))):
        if number == which:
            return count + marks + longer(shapes[number])
        if later:
            count += 2 * marks + longer(shapes[number])


def vote(self, logits, features, old, gate=lambda v: v):
    """By scattering, and only where there is something to copy."""
    there = old >= 0
    where = torch.where(there, old, 0)[..., None]
    return logits.scatter_add(2, where, gate(self.vote(features)) * there[..., None])


def mask(references, target):
    whole = sum(references) + target
    out = torch.zeros(whole, whole, dtype=torch.bool)
    at = 0
    for length in references:
        out[at:at + length, at:at + length] = True
        at += length
    out[at:] = True
    return out


def memory(self, latents, ids):
    """By hooks, from what the blocks are called with."""
    rows, columns = 2 * ids.shape[1], 2 * ids.shape[2]
    found = []
    x = self.embed(latents, ids)
    m = self.modulator(torch.zeros(1), 16 * rows, 16 * columns).expand(len(x), -1)
    hooks = [block.register_forward_hook(lambda block, given, out: found.append(out[2][1:])) for block in self.blocks]
    try:
        nothing = torch.zeros(len(x), 0, x.shape[-1])
        for block in self.blocks:
            x = block(x, nothing, m, self.rotary(rows, columns, torch.device("cpu")), None)[0]
    finally:
        for hook in hooks:
            hook.remove()
    return found


def edit(pipe, instruction, images, steps=20, guidance=1.5, seed=0, sign=1):
    """With schedule and Euler steps of its own, in one batch per branch."""
    config, read = pipe.planner.config, [pipe.read(image) for image in images]
    rows, columns = images[0].height // 32, images[0].width // 32
    ids = [i for one in read for i in (config.boi, *one.ids.flatten().tolist(), config.eoi)]
    sop, eop = (pipe.bpe.specials[name] for name in ("<sop>", "<eop>"))
    text = [*pipe.bpe.encode(instruction), sop, *pipe.bpe.encode(f"{rows} {columns}"), eop]
    text = [i + config.vision_vocab for i in text] + [config.boi]
    parts = [part for one in read for part in (1, tuple(one.ids.shape), 1)] + [len(text)]
    with pipe.editing.on():
        plan = sample_ids(pipe.planner, [ids + text], [(rows, columns)], [torch.Generator().manual_seed(seed)], parts=[parts])[0]
        seen = [memory(pipe.decoder, one.latents, one.ids[None]) for one in read]
    told, free = glyphs(pipe.glyph, [pipe.unwritten(instruction, read, images[0].width)]), glyphs(pipe.glyph, [[]])
    x = normal(1, 16, 4 * rows, 4 * columns, seed=seed)
    mu = 0.75 * (plan.numel() / 4) ** 0.5 + 0.25
    times = [int(1000 - 999 * i / steps) for i in range(steps)]
    sigmas = [mu * t / (mu * t + 1000 - t) for t in times] + [0.0]
    for i, time in enumerate(times):
        t = torch.tensor([time - 1.0])
        with pipe.editing.on():
            one = pipe.decoder(x, t, plan, *told, memory=seen)
            two = pipe.decoder(x, t, plan, *free, torch.tensor([False]))
        x = x - sign * (sigmas[i] - sigmas[i + 1]) * (guidance * one + (1 - guidance) * two)
    return to_images(pipe.vae.decode(x))[0]


def windows(x, y, c1=C1, c2=C2, unbiased=False, root=False):
    xx, yy = x.var(-1, unbiased=unbiased), y.var(-1, unbiased=unbiased)
    mx, my = x.mean(-1), y.mean(-1)
    n = x.shape[-1]
    xy = ((x * y).mean(-1) - mx * my) * (n / (n - 1) if unbiased else 1)
    if root:
        xx, yy = xx ** 0.5, yy ** 0.5
    return (2 * mx * my + c1) * (2 * xy + c2) / ((mx * mx + my * my + c1) * (xx + yy + c2))


def kept(picture, target, region, similar):
    if region.all():
        return similar(picture, target).mean()
    picture = picture.copy()
    picture[region] = target[region]
    return np.average(similar(picture, target), weights=~region)


RIGHT = dict(edit_prompt=prompt, copy_distance=distance, pointer_vote=vote, reference_mask=mask, remembered=memory, whole_edit=edit,
             ssim_of_windows=windows, rest_kept=kept)


def of_the_mistaken(check, function, names):
    """What the checks know to be wrong, asked as a learner's own."""
    return [(check, partial(function, off), why[:30].replace("(", r"\(")) for off, why in names.items()]


WRONG = [
    ("edit_prompt", partial(prompt, last=True), "comes after the pictures"),
    ("edit_prompt", lambda s, t, c: ([c.boi, *torch.cat([g.flatten() for g in s]).tolist(), c.eoi, *t],
                                     [1, *(tuple(g.shape) for g in s), 1, len(t)]), "its own boi and eoi"),
    ("edit_prompt", partial(prompt, columns=True), "row by row"),
    ("edit_prompt", partial(prompt, order=-1), "in which they are given"),
    ("edit_prompt", lambda s, t, c: ([i for i in prompt(s, t, c)[0] if i != c.eoi],
                                     [p for g in s for p in (1, tuple(g.shape))] + [len(t)]), "eoi after each picture is missing"),
    ("edit_prompt", partial(prompt, parts=lambda p: [each for each in p if each != 1]), "count as one text token each"),
    ("edit_prompt", partial(prompt, parts=lambda p: [each if isinstance(each, int) else each[0] * each[1] for each in p]),
     "a picture is a grid"),
    ("edit_prompt", partial(prompt, parts=lambda p: p[:-1]), "the last part"),
    ("edit_prompt", lambda s, t, c: prompt(s, t, c)[0], "two things"),
    ("copy_distance", partial(distance, marks=0), "boi and eoi count"),
    ("copy_distance", partial(distance, longer=lambda shape: shape[0] * shape[1]), "not by its number of cells"),
    ("copy_distance", partial(distance, longer=lambda shape: shape[0]), "not by its rows"),
    ("copy_distance", partial(distance, later=False), "the sources after this one"),
    ("copy_distance", lambda shapes, text, which: distance(shapes, text, 0) + 1, "leave it out"),
    ("copy_distance", lambda shapes, text, which: distance(shapes, 0, which), "the text lies in between"),
    ("copy_distance", lambda *a: distance(*a) + 1, "after its boi"),
    *of_the_mistaken("pointer_vote", mistaken.voted, mistaken.VOTES),
    ("pointer_vote", partial(vote, gate=torch.relu), "off"),
    ("pointer_vote", lambda self, logits, features, old: logits.add_(0 * old[..., None]).add_(self.vote(features)), "changes its input"),
    ("reference_mask", lambda r, t: mask(r, t).T, "other way round"),
    ("reference_mask", lambda r, t: torch.ones_like(mask(r, t)), "must not attend to the new picture"),
    ("reference_mask", lambda r, t: mask([*r, t], 0), "attends to itself and to all references"),
    ("reference_mask", lambda r, t: mask(r, t).float(), "torch.float32"),
    ("reference_mask", lambda r, t: mask(r, t).tril(), "off|token by token"),
    ("reference_mask", lambda r, t: torch.ones_like(mask(r, t)).tril(), "token by token"),
    ("reference_mask", lambda r, t: mask(r, t) & (torch.arange(sum(r) + t) < sum(r)), "not only to the references"),
    ("reference_mask", lambda r, t: torch.block_diag(torch.ones(sum(r), sum(r)), torch.ones(t, t)).bool()
        | (torch.arange(sum(r) + t)[:, None] >= sum(r)), "off|not to those before it"),
    *of_the_mistaken("remembered", mistaken.remember, mistaken.MEMORIES),
    ("remembered", lambda *a: memory(*a)[0], "should have 3"),
    *of_the_mistaken("whole_edit", mistaken.edited, mistaken.EDITS),
    ("whole_edit", partial(edit, sign=-1), "off"),
    ("whole_edit", lambda *a, **how: None, "return"),
    ("ssim_of_windows", lambda x, y: windows(x, y, C2, C1), "exchanged"),
    ("ssim_of_windows", lambda x, y: windows(x, y, 0, 0), "constants are missing"),
    ("ssim_of_windows", lambda x, y: windows(x, y, unbiased=True), "not by n - 1"),
    ("ssim_of_windows", lambda x, y: windows(x, y, root=True), "standard deviations"),
    ("rest_kept", lambda x, y, r, s: s(x, y).mean(), "over the whole picture"),
    ("rest_kept", lambda x, y, r, s: s(x, y)[~r].mean(), "windows at the border"),
    ("rest_kept", lambda x, y, r, s: s(x, y)[r].mean(), "outside"),
    ("rest_kept", lambda x, y, r, s: kept(x, y, ~r, s), "other way round"),
    ("rest_kept", lambda x, y, r, s: s(np.where(r, y, x), y).mean(), "average only outside"),
    ("rest_kept", lambda x, y, r, s: kept(x, y, r, s) if not r.all() else float("nan"), "mean of nothing"),
    ("rest_kept", lambda x, y, r, s: kept(x, y, r, s) if not r.all() else s(y, y).mean(), "nothing of it is left"),
]
