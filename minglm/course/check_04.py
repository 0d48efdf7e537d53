"""Checks of the exercises in notebook 04, Turn a picture into tokens.

Shapes: N features · K codes · E code width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from minglm.config import TokenizerConfig
from minglm.course.answers import Case, normal, run
from minglm.measure import probe
from minglm.model.tokenizer import VectorQuantiser


def nearest(learner: Callable) -> None:
    """Unit vectors z (N, E), codes (K, E) of any norm -> ids (N,) of the codes at the smallest angle."""
    def case(n: int, k: int, e: int) -> Case:
        z, codes = (F.normalize(normal(n, e), dim=-1),
                    normal(k, e, seed=1) * (0.2 + normal(k, 1, seed=2).abs()))
        quantiser = VectorQuantiser(TokenizerConfig(codebook=k, code_width=e, width=e))
        quantiser.codes.data = codes
        cosine = z @ F.normalize(codes, dim=-1).T
        return Case((z, codes), quantiser.nearest(z), {
            "codes with a large norm win: divide each code by its norm first": (z @ codes.T).argmax(1),
            "that is the smallest Euclidean distance; here only the angle counts":
                torch.cdist(z, codes).argmin(1),
            "that is the farthest code: a large cosine means a small angle": cosine.argmin(1),
            "one id for each row of z, not for each code: the maximum is over the codes": cosine.argmax(0)})

    run("nearest", learner, case(40, 12, 3), case(12, 12, 8))


def straight_through(learner: Callable) -> None:
    """z and its codes, of one shape -> the values of the codes, with a gradient that goes to z unchanged."""
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
        "the value is right, but z gets no gradient: codes come from argmax, which has none":
            answer(lambda z, c: c),
        "nothing gets a gradient: z itself must stay outside of detach": answer(lambda z, c: c.detach()),
        "that is z; the value should be that of the codes": answer(lambda z, c: z),
        "the gradient goes to the codes: exchange z and codes": answer(lambda z, c: c + (z - c).detach()),
        "the gradient goes to the codes, too: detach the whole difference":
            answer(lambda z, c: z + c - z.detach())}))


def perplexity(learner: Callable) -> None:
    """ids (any shape) and K -> exp(entropy) of the distribution of the K codes, a float."""
    def case(ids: Tensor, k: int) -> Case:
        count = torch.bincount(ids.flatten(), minlength=k).float()
        share = count[count > 0] / count.sum()
        entropy = -(share * share.log()).sum()
        return Case((ids, k), probe.perplexity(ids, k), {
            "that is the entropy; the perplexity is exp of it": float(entropy),
            "that is the number of codes in use; those used often should count more":
                float((count > 0).sum()),
            "the sign: probabilities have negative logarithms, so the entropy needs a minus":
                float((-entropy).exp()),
            "2 ** entropy goes with log2; with log it is exp": float(2 ** entropy)})

    skewed = (normal(400).abs() * 6).long()
    run("perplexity", learner, case(torch.arange(8).view(2, 4), 16), case(skewed, 64))
