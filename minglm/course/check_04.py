"""Self-checks of the exercises in notebooks 01 to 04: the data, text ids, latents, picture ids.

Each takes the learner's function and says in its first line what that function shall do.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from minglm import posters, probe, text
from minglm.answers import Case, Wrong, call, normal, run
from minglm.config import TokenizerConfig
from minglm.posters import COLOURS, Poster, Region, draw
from minglm.tokenizer import VectorQuantiser


# ---------------------------------------------------------------- 01 Draw the data

def set_poster(learner: Callable) -> None:
    """() -> a white Poster, a robot on the right, GO in green on the left, 早上 in black at the bottom."""
    go, morning = Region("left", "GO", "green"), Region("bottom", "早上", "black")

    def poster(place: str = "right", regions: tuple = (go, morning)) -> Poster:
        return Poster("white", "robot", place, regions)

    run("set_poster", learner, Case((), poster(), {
        "the regions are not in reading order: top, left, right, bottom": poster(regions=(morning, go)),
        "the robot stands on the left, where GO shall stand": poster("left"),
        "the regions are a list; a tuple is wanted, which nothing can change later": poster(regions=[go, morning])}))


def count_tokens(learner: Callable) -> None:
    """height, width in pixels -> how many latents, decoder tokens and ids of the large grid."""
    def count(height: int, width: int, *steps: int) -> tuple[int, ...]:
        return tuple((height // s) * (width // s) for s in steps)

    run("count_tokens", learner, *(Case(size, count(*size, 8, 16, 32), {
        "the order is latents, decoder tokens, ids: the finest mesh first": count(*size, 32, 16, 8),
        "those are numbers along one side; a picture has rows times columns": tuple(size[0] // s for s in (8, 16, 32)),
        "a decoder token is 2 x 2 latents, so 16 pixels wide, and an id 2 x 2 tokens": count(*size, 8, 8, 32),
    }) for size in ((128, 128), (96, 160), (1024, 1024))))


def readable(learner: Callable) -> None:
    """A background's name -> the names of the colours with a contrast of at least 3, in the order of COLOURS."""
    def chosen(background: str, least: float = 3, haze: float = 0.05, both: bool = True) -> tuple[str, ...]:
        light = {name: posters.luminance(rgb) + haze for name, (rgb, _) in COLOURS.items()}
        ratios = {name: one / light[background] for name, one in light.items()}
        return tuple(name for name, r in ratios.items() if max(r, 1 / r if both else 0) >= least)

    run("readable", learner, *(Case((name,), posters.text_colours(name), {
        "only lighter colours are found; divide the larger luminance by the smaller": chosen(name, both=False),
        "0.05 is missing: add it to both luminances before you divide": chosen(name, haze=1e-9),
        "a contrast of 3 is enough; 4.5 is the rule for small print": chosen(name, least=4.5),
    }) for name in ("white", "gray", "black", "orange")))


def ask(learner: Callable) -> None:
    """A poster -> an English caption that names background, object and place, and for each word, in reading
    order: the quoted word, its slot, its colour."""
    for i in range(200):
        poster = draw(5, i)
        caption = call("ask", learner, poster)
        if not isinstance(caption, str):
            raise Wrong(f"ask: a string is wanted, and this is a {type(caption).__name__}")
        wanted, found = [region.text for region in poster.regions], text.quoted(caption)
        if found != wanted:
            why = "the order is not top, left, right, bottom" if sorted(found) == sorted(wanted) else (
                "the letters changed" if [f.upper() for f in found] == wanted else "every word needs quotation marks")
            raise Wrong(f"ask: of {caption!r} the model would write {found}, and should write {wanted}: {why}")
        named = dict(background=poster.background, object=poster.thing, place=poster.place)
        for region in poster.regions:
            named |= {f"slot of {region.text}": region.slot, f"colour of {region.text}": region.colour}
        for what, name in named.items():
            if name not in caption:
                raise Wrong(f"ask: {caption!r} does not name the {what}, {name}")
    print("ask: right, 200 posters")


# ---------------------------------------------------------------- 02 Turn words into ids

def merge(learner: Callable) -> None:
    """A word (tuple of tokens) and a pair -> the word with every neighbouring pair joined, from the left."""
    def first_only(word: tuple, pair: tuple) -> tuple:
        at = next((i for i in range(len(word) - 1) if word[i:i + 2] == pair), len(word))
        return word[:at] + tuple(["".join(pair)] * (at < len(word))) + word[at + 2:]

    def overlapping(word: tuple, pair: tuple) -> tuple:
        out, i = [], 0
        while i < len(word):
            out.append(word[i] + word[i + 1] if word[i:i + 2] == pair else word[i])
            i += 1 + (word[i:i + 2] == pair and word[i + 1:i + 3] != pair)
        return tuple(out)

    examples = ("banana", ("a", "n")), ("aaaaa", ("a", "a")), ("nab", ("a", "b")), ("x", ("x", "y"))
    run("merge", learner, *(Case(args, text.merge(*args), {
        "only the first pair was joined; go on behind it": first_only(*args),
        "a token was used twice: behind a joined pair go on two tokens further": overlapping(*args),
        "the last token is missing: it has no neighbour, and still belongs to the word": text.merge(*args)[:-1],
    }) for args in ((tuple(letters), pair) for letters, pair in examples)))


def encode(learner: Callable) -> None:
    """A word (str) and merges, first learned first -> its tokens: again and again join the pair learned first."""
    merges = [("l", "o"), ("e", "r"), ("w", "er"), ("lo", "w"), ("n", "e"), ("ne", "w"), ("s", "t"), ("e", "st")]

    def by_rank(word: str) -> list[str]:
        tokens = tuple(word)
        for pair in merges:                  # each was learned when all earlier ones were joined already
            tokens = text.merge(tokens, pair)
        return list(tokens)

    def longest(word: str) -> list[str]:
        known, out = {a + b for a, b in merges}, []
        while word:
            size = max((n for n in range(1, len(word) + 1) if word[:n] in known), default=1)
            out, word = [*out, word[:size]], word[size:]
        return out

    def one_round(word: str) -> list[str]:
        return list(text.merge(tuple(word), next((p for p in merges if "".join(p) in word), ())))

    run("encode", learner, *(Case((word, merges), by_rank(word), {
        "you take the longest known token from the left; BPE joins the pair learned first": longest(word),
        "one pair was joined and no more; repeat until no pair is among the merges": one_round(word),
        "no pair was joined": list(word),
    }) for word in ("lower", "newest", "slowest", "xyz", "")))


def prompt_layout(learner: Callable) -> None:
    """bpe, prompt, large grid (h, w), preview grid (p, q), offset, boi -> PROMPT<sop>h w<eop><sop>p q<eop><boi>
    as a list of ids, those of the text raised by offset."""
    bpe = text.BPE.train(["a red cat 4 3", "一只猫"] * 2, 270)

    def layout(prompt: str, large: tuple, preview: tuple, offset: int, boi: int) -> list[int]:
        return text.prompt_ids(bpe, prompt, *large, preview, offset, boi)

    def mistakes(prompt: str, large: tuple, preview: tuple, offset: int, boi: int) -> dict:
        right, written = layout(prompt, large, preview, offset, boi), "{}<sop>{} {}<eop><sop>{} {}<eop>"
        return {"the ids of the text are not raised by `offset`": layout(prompt, large, preview, 0, boi),
                "`boi` is a code already: do not raise it by `offset`": [*right[:-1], boi + offset],
                "the large grid stands first, the preview behind it": layout(prompt, preview, large, offset, boi),
                "the rows stand first: h w, not w h": layout(prompt, large[::-1], preview[::-1], offset, boi),
                "`boi` is missing at the end: it tells the model to begin the picture": right[:-1],
                "<sop> and <eop> are ids of their own, bpe.specials[...], not text to encode":
                    [offset + i for i in bpe.encode(written.format(prompt, *large, *preview))] + [boi]}

    examples = ("a red cat", (4, 3), (2, 1), 1152, 1024), ("一只猫", (3, 5), (1, 2), 288, 256)
    run("prompt_layout", learner, *(Case((bpe, *e), layout(*e), mistakes(*e)) for e in examples))


# ---------------------------------------------------------------- 03 Squeeze pixels into latents

def psnr(learner: Callable) -> None:
    """Two tensors of pictures in [-1, 1] -> the peak signal-to-noise ratio in decibels, a float."""
    def case(a: Tensor, b: Tensor) -> Case:
        error, distance = (a - b).square().mean(), (a - b).abs().mean()
        right = float(10 * torch.log10(4 / error))
        return Case((a, b), right, {
            "6 dB too low: from -1 to 1 it is 2, so the peak squared is 4": float(10 * torch.log10(1 / error)),
            "the sign is wrong: the smaller the error, the more decibels": -right,
            "the natural logarithm; decibels want log10": float(10 * torch.log(4 / error)),
            "10 times log10 of squares is 20 times log10 of amplitudes; you counted the square twice": 2 * right,
            "the absolute difference was averaged; PSNR wants its square": float(10 * torch.log10(4 / distance))})

    a = normal(2, 3, 8, 8).clamp(-1, 1)
    run("psnr", learner, case(a, (a + 0.1 * normal(2, 3, 8, 8, seed=1)).clamp(-1, 1)), case(a, torch.zeros_like(a)))


def patches(learner: Callable) -> None:
    """Images (B, C, H, W) and a side s -> one row of C s s numbers for each s x s patch, row by row."""
    def case(b: int, c: int, h: int, w: int, s: int) -> Case:
        x = torch.arange(float(b * c * h * w)).view(b, c, h, w)
        right = rearrange(x, "b c (h p) (w q) -> (b h w) (c p q)", p=s, q=s)
        return Case((x, s), right, {
            "a reshape alone keeps the pixels in the order of memory; bring (h, w) in front of (c, p, q) first":
                x.reshape(right.shape),
            "the patches run down the columns; row by row is wanted":
                rearrange(x, "b c (h p) (w q) -> (b w h) (c p q)", p=s, q=s),
            "in each row the colours come last; they should come first, as in the picture":
                rearrange(x, "b c (h p) (w q) -> (b h w) (p q c)", p=s, q=s),
            "within a patch rows and columns are exchanged":
                rearrange(x, "b c (h p) (w q) -> (b h w) (c q p)", p=s, q=s),
            "pixels far apart were put together; a patch is s x s neighbours":
                rearrange(x, "b c (p h) (q w) -> (b h w) (c p q)", p=s, q=s)})

    run("patches", learner, case(2, 3, 4, 6, 2), case(1, 3, 16, 24, 8))


def pca(learner: Callable) -> None:
    """Rows (N, D) and k -> the same rows after passing through the first k principal components."""
    def through(x: Tensor, center: Tensor, basis: Tensor, back: Tensor) -> Tensor:
        return (x - center) @ basis @ basis.T + back

    def case(n: int, d: int, k: int) -> Case:
        x = normal(n, d) @ normal(d, d, seed=1) + 3
        center, zero = x.mean(0), torch.zeros(d)
        vectors = torch.linalg.eigh((x - center).T @ (x - center))[1]
        raw = torch.linalg.eigh(x.T @ x)[1]
        return Case((x, k), through(x, center, vectors[:, -k:], center), {
            "eigh sorts from small to large: the last k columns are wanted": through(x, center, vectors[:, :k], center),
            "the mean was taken off and not added again": through(x, center, vectors[:, -k:], zero),
            "take the mean off first, or the first component is spent on it": through(x, zero, raw[:, -k:], zero),
            "eigenvectors are columns, and you took rows": through(x, center, vectors[-k:].T, center)})

    run("pca", learner, case(64, 6, 2), case(200, 12, 5), tolerance=1e-3)


# ---------------------------------------------------------------- 04 Turn a picture into tokens

def nearest(learner: Callable) -> None:
    """Unit vectors z (N, E) and codes (K, E) of any length -> for each the id of the code at the least angle."""
    def case(n: int, k: int, e: int) -> Case:
        z, codes = F.normalize(normal(n, e), dim=-1), normal(k, e, seed=1) * (0.2 + normal(k, 1, seed=2).abs())
        quantiser = VectorQuantiser(TokenizerConfig(codebook=k, code_width=e, width=e))
        quantiser.codes.data = codes
        cosine = z @ F.normalize(codes, dim=-1).T
        return Case((z, codes), quantiser.nearest(z), {
            "long codes win: divide each code by its length first": (z @ codes.T).argmax(1),
            "that is the least straight distance; here only the angle counts": torch.cdist(z, codes).argmin(1),
            "that is the farthest code: a large cosine means a small angle": cosine.argmin(1),
            "one id for each row of z, not for each code: the maximum runs over the codes": cosine.argmax(0)})

    run("nearest", learner, case(40, 12, 3), case(12, 12, 8))


def straight_through(learner: Callable) -> None:
    """z and its codes, the same shape -> a tensor with the value of the codes, whose gradient flows to z as if
    it were z."""
    def forward_and_back(function: Callable) -> Callable:
        def both(z: Tensor, codes: Tensor, weight: Tensor) -> list[Tensor]:
            z, codes = z.requires_grad_(), codes.requires_grad_()
            out = function(z, codes)
            if out is None:
                return None
            grads = (None, None)
            if out.requires_grad:
                grads = torch.autograd.grad((out * weight).sum(), (z, codes), allow_unused=True)
            return [out.detach(), *(torch.zeros_like(z) if g is None else g for g in grads)]
        return both

    z, codes, weight = (normal(4, 6, seed=i) for i in range(3))

    def answer(function: Callable) -> list[Tensor]:
        return forward_and_back(function)(z.clone(), codes.clone(), weight)

    right = answer(lambda z, c: z + (c - z).detach())
    run("straight_through", forward_and_back(learner), Case((z, codes, weight), right, {
        "the value is right, but z gets no gradient: codes come from argmax, which has none": answer(lambda z, c: c),
        "nothing gets a gradient: z itself must stay outside of detach": answer(lambda z, c: c.detach()),
        "that is z; the value should be the codes'": answer(lambda z, c: z),
        "the gradient goes to the codes: exchange z and codes": answer(lambda z, c: c + (z - c).detach()),
        "the gradient goes to the codes, too: detach the whole difference": answer(lambda z, c: z + c - z.detach())}))


def perplexity(learner: Callable) -> None:
    """ids (any shape) and K -> exp(entropy) of the use of the K codes, a float."""
    def case(ids: Tensor, k: int) -> Case:
        count = torch.bincount(ids.flatten(), minlength=k).float()
        share = count[count > 0] / count.sum()
        entropy = -(share * share.log()).sum()
        return Case((ids, k), probe.perplexity(ids, k), {
            "that is the entropy; the perplexity is exp of it": float(entropy),
            "that is the number of codes in use; those used often should count more": float((count > 0).sum()),
            "the sign: shares below 1 have negative logarithms, so the entropy needs a minus": float((-entropy).exp()),
            "2 ** entropy belongs to log2; with log it is exp": float(2 ** entropy)})

    skewed = (normal(400).abs() * 6).long()
    run("perplexity", learner, case(torch.arange(8).view(2, 4), 16), case(skewed, 64))
