"""Right and wrong answers to the checks of notebooks 01 to 04; with each wrong one some words of its diagnosis."""

import math
from collections import Counter

import torch

from minglm.world.colours import COLOURS
from minglm.world.posters import Group, Poster, Region
from minglm.world.quotes import quotations, quote

GO, MORNING = Region("left", "Go!", "green"), Region("bottom", "早上", "black")
ROBOT = (Group("robot"),)


# ---------------------------------------------------------------- right answers, written anew

def count_tokens(height, width):
    cells = height * width // 64
    return cells, cells // 4, cells // 16


def luminance(colour, haze=0.05):
    channels = [v / 255 for v in COLOURS[colour][0]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
    return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear)) + haze


def readable(background, least=3.0):
    def contrast(colour):
        dark, light = sorted((luminance(colour), luminance(background)))
        return light / dark
    return tuple(colour for colour in COLOURS if contrast(colour) >= least)


def ask(poster, order=1):
    things = " and ".join(f"{g.thing} (number: {g.count})" for g in poster.groups)
    said = "".join(f", {quote(r.text)} in {r.colour} at {r.slot}" for r in poster.regions[::order])
    return f"{poster.background} card, {things} at {poster.place}{said}"


def merge(word, pair):
    if len(word) < 2:
        return word
    if word[:2] == pair:
        return ("".join(pair), *merge(word[2:], pair))
    return (word[0], *merge(word[1:], pair))


def encode(word, merges):
    tokens = list(word)
    while ranks := [merges.index(pair) for pair in zip(tokens, tokens[1:]) if pair in merges]:
        tokens = list(merge(tuple(tokens), merges[min(ranks)]))
    return tokens


def prompt_layout(bpe, prompt, large, preview, offset, boi):
    def size(grid):
        return [bpe.specials["<sop>"], *bpe.encode(f"{grid[0]} {grid[1]}"), bpe.specials["<eop>"]]
    return [i + offset for i in bpe.encode(prompt) + size(large) + size(preview)] + [boi]


def psnr(a, b):
    error = a - b
    return 20 * math.log10(2 / error.pow(2).mean().sqrt())


def patches(x, s):
    b, c, h, w = x.shape
    return x.unfold(2, s, s).unfold(3, s, s).permute(0, 2, 3, 1, 4, 5).reshape(-1, c * s * s)


def pca(x, k):
    center = x.mean(0)
    u, s, v = torch.linalg.svd(x - center, full_matrices=False)
    return center + u[:, :k] * s[:k] @ v[:k]


def nearest(z, codes):
    return torch.cdist(z, codes / codes.norm(dim=1, keepdim=True)).argmin(1)


class Through(torch.autograd.Function):
    @staticmethod
    def forward(context, z, codes):
        return codes.clone()

    @staticmethod
    def backward(context, grad):
        return grad, None


def perplexity(ids, k):
    counts = Counter(ids.flatten().tolist()).values()
    return math.prod((n / ids.numel()) ** (-n / ids.numel()) for n in counts)


RIGHT = dict(set_poster=lambda: Poster("white", ROBOT, "right", (GO, MORNING)), count_tokens=count_tokens,
             readable=readable, ask=ask, merge=merge, encode=encode, prompt_layout=prompt_layout, psnr=psnr,
             patches=patches, pca=pca, nearest=nearest, straight_through=Through.apply, perplexity=perplexity)


# ---------------------------------------------------------------- mistakes, and what is said of them

def without_haze(background):
    ratios = {colour: luminance(colour, 0) / luminance(background, 0) for colour in COLOURS}
    return tuple(colour for colour, ratio in ratios.items() if max(ratio, 1 / ratio) >= 3)


def preview_first(bpe, prompt, large, preview, offset, boi):
    return prompt_layout(bpe, prompt, preview, large, offset, boi)


def columns_first(bpe, prompt, large, preview, offset, boi):
    return prompt_layout(bpe, prompt, large[::-1], preview[::-1], offset, boi)


def unmarked(poster):
    caption = ask(poster)
    for start, end in reversed(quotations(caption)):
        caption = caption[:start] + caption[start + 1:end - 1] + caption[end:]
    return caption


def joined_once(word, pair):
    text = "\0".join(word).replace("\0".join(pair), "".join(pair), 1)
    return tuple(text.split("\0"))


def reused(word, pair):
    out, skip = [], False
    for i, token in enumerate(word):
        if word[i:i + 2] == pair:
            out, skip = [*out, "".join(pair)], True
        elif not skip:
            out.append(token)
        else:
            skip = False
    return tuple(out)


def left_to_right(word, merges):
    known, out = {"".join(pair) for pair in merges}, []
    while word:
        piece = next((word[:n] for n in range(len(word), 1, -1) if word[:n] in known), word[0])
        out, word = [*out, piece], word[len(piece):]
    return out


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def uncentred(x, k):
    v = torch.linalg.svd(x, full_matrices=False)[2][:k]
    return x @ v.T @ v


def without_mean(x, k):
    return pca(x, k) - x.mean(0)


def small_components(x, k):
    u, s, v = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return x.mean(0) + u[:, -k:] * s[-k:] @ v[-k:]


WRONG = [
    ("set_poster", lambda: Poster("white", ROBOT, "right", (MORNING, GO)), "reading order"),
    ("set_poster", lambda: Poster("white", ROBOT, "left", (GO, MORNING)), "on the left"),
    ("set_poster", lambda: Poster("white", ROBOT[0], "right", (GO, MORNING)), "even if there is only one"),
    ("set_poster", lambda: Poster("white", "robot", "right", (GO, MORNING)), "is a name"),
    ("set_poster", lambda: Poster("black", ROBOT, "right", (GO, MORNING)), "is not"),
    ("count_tokens", lambda h, w: count_tokens(h, w)[::-1], "finest grid first"),
    ("count_tokens", lambda h, w: (h // 8, h // 16, h // 32), "rows times columns"),
    ("readable", lambda b: readable(b, 4.5), "4.5"),
    ("readable", lambda b: tuple(c for c in COLOURS if luminance(c) / luminance(b) >= 3), "only lighter"),
    ("readable", without_haze, "0.05 is missing"),
    ("ask", lambda p: ask(p, -1), "not top, left, centre"),
    ("ask", unmarked, "quotation marks"),
    ("ask", lambda p: ask(p).replace("number: 2", "several"), "does not name the number"),
    ("ask", lambda p: ask(p).replace(p.place, "there", 1), "does not name the (place|slot)"),
    ("ask", lambda p: ask(p).lower(), "letters changed"),
    ("merge", joined_once, "only the first"),
    ("merge", reused, "used twice"),
    ("merge", lambda word, pair: merge(word, pair)[:-1], "last token"),
    ("encode", left_to_right, "longest known"),
    ("encode", lambda word, merges: list(word), "no pair"),
    ("prompt_layout", lambda b, p, large, small, o, boi: prompt_layout(b, p, large, small, 0, boi), "add `offset`"),
    ("prompt_layout", lambda b, p, large, small, o, boi: prompt_layout(b, p, large, small, o, boi + o), "do not add"),
    ("prompt_layout", preview_first, "large grid comes first"),
    ("prompt_layout", columns_first, "rows come"),
    ("prompt_layout", lambda *args: prompt_layout(*args)[:-1], "boi` is missing"),
    ("psnr", lambda a, b: psnr(a, b) - 20 * math.log10(2), "6 dB too low"),
    ("psnr", lambda a, b: -psnr(a, b), "sign"),
    ("psnr", lambda a, b: psnr(a, b) * math.log(10), "natural logarithm"),
    ("patches", lambda x, s: x.reshape(-1, x.shape[1] * s * s), "order of memory"),
    ("patches", lambda x, s: patches(x.transpose(2, 3), s), "exchanged|off"),
    ("patches", lambda x, s: patches(x, s).view(-1, x.shape[1], s * s).transpose(1, 2).flatten(1), "colours come last"),
    ("pca", small_components, "last k columns"),
    ("pca", without_mean, "not added again"),
    ("pca", uncentred, "subtract the mean"),
    ("nearest", lambda z, codes: (z @ codes.T).argmax(1), "large norm win"),
    ("nearest", lambda z, codes: torch.cdist(z, codes).argmin(1), "Euclidean distance"),
    ("nearest", lambda z, codes: (z @ unit(codes).T).argmin(1), "farthest"),
    ("nearest", lambda z, codes: (z @ unit(codes).T).argmax(0), "for each row of z"),
    ("straight_through", lambda z, codes: codes, "argmax, which has none"),
    ("straight_through", lambda z, codes: z, "that is z"),
    ("straight_through", lambda z, codes: codes.detach(), "nothing gets a gradient"),
    ("straight_through", lambda z, codes: codes + (z - codes).detach(), "exchange z and codes"),
    ("perplexity", lambda ids, k: math.log(perplexity(ids, k)), "entropy"),
    ("perplexity", lambda ids, k: float(len(set(ids.flatten().tolist()))), "codes in use"),
    ("perplexity", lambda ids, k: 1 / perplexity(ids, k), "minus"),
]
