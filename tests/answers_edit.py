"""Right and wrong answers to the checks of notebook 11; with each wrong one some words of its diagnosis."""

import torch

C1, C2 = 6.5025, 58.5225


def prompt(sources, text, boi, eoi, order="abc", last=False, columns=False):
    out = []
    for source in sources if order == "abc" else reversed(sources):
        rows = source.T if columns else source
        out += [boi] + [int(i) for row in rows for i in row] + [eoi]
    return out + list(text) if not last else list(text) + out


def places(sources, text, target, spread=True, marks=True):
    time, row, column, count = [], [], [], 0

    def word(times=1):
        nonlocal count
        for _ in range(times):
            for axis in (time, row, column):
                axis.append(count)
            count += 1

    def grid(h, w):
        nonlocal count
        for i in range(h):
            for j in range(w):
                time.append(count), row.append(count + i), column.append(count + j)
        count += max(h, w)

    for h, w in sources:
        word(marks)
        grid(h, w) if spread else word(h * w)
        word(marks)
    word(text if marks else text + 2 * len(sources))
    grid(*target)
    return torch.tensor([time, row, column])


def mask(references, target):
    whole = sum(references) + target
    out = torch.zeros(whole, whole, dtype=torch.bool)
    at = 0
    for length in references:
        out[at:at + length, at:at + length] = True
        at += length
    out[at:] = True
    return out


def windows(x, y, c1=C1, c2=C2, unbiased=False, root=False):
    xx, yy = x.var(-1, unbiased=unbiased), y.var(-1, unbiased=unbiased)
    mx, my = x.mean(-1), y.mean(-1)
    n = x.shape[-1]
    xy = ((x * y).mean(-1) - mx * my) * (n / (n - 1) if unbiased else 1)
    if root:
        xx, yy = xx ** 0.5, yy ** 0.5
    return (2 * mx * my + c1) * (2 * xy + c2) / ((mx * mx + my * my + c1) * (xx + yy + c2))


RIGHT = dict(edit_prompt=prompt, edit_positions=places, reference_mask=mask, ssim_of_windows=windows)

WRONG = [
    ("edit_prompt", lambda s, t, b, e: prompt(s, t, b, e, last=True), "comes after the pictures"),
    ("edit_prompt", lambda s, t, b, e: [b, *torch.cat([g.flatten() for g in s]).tolist(), e, *t], "its own boi and eoi"),
    ("edit_prompt", lambda s, t, b, e: prompt(s, t, b, e, columns=True), "along the rows"),
    ("edit_prompt", lambda s, t, b, e: prompt(s, t, b, e, order="cba"), "in which they were given"),
    ("edit_prompt", lambda s, t, b, e: [i for i in prompt(s, t, b, e) if i != e], "eoi after each picture is missing"),
    ("edit_positions", lambda s, t, g: places(s, t, g, spread=False), "spread over rows and columns"),
    ("edit_positions", lambda s, t, g: places(s, t, g, marks=False), "count as one token of text each"),
    ("edit_positions", lambda s, t, g: places(s, t, g)[[1, 2, 0]], "off"),
    ("reference_mask", lambda r, t: mask(r, t).T, "other way round"),
    ("reference_mask", lambda r, t: torch.ones_like(mask(r, t)), "must not see the target"),
    ("reference_mask", lambda r, t: mask([*r, t], 0), "the target sees itself and all references"),
    ("reference_mask", lambda r, t: mask(r, t).float(), "torch.float32"),
    ("ssim_of_windows", lambda x, y: windows(x, y, C2, C1), "exchanged"),
    ("ssim_of_windows", lambda x, y: windows(x, y, 0, 0), "constants are missing"),
    ("ssim_of_windows", lambda x, y: windows(x, y, unbiased=True), "not by n - 1"),
    ("ssim_of_windows", lambda x, y: windows(x, y, root=True), "standard deviations"),
]
