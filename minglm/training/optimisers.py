"""The optimisers: AdamW, Muon for hidden matrices, and the exponential moving average of the weights.

Shapes: n matrices of R rows and C columns, R <= C.

Adam scales each element of a gradient separately; Muon treats a matrix as a map and orthogonalises its
update, so that all directions change equally. That takes a few matrix products (Newton-Schulz; Jordan et al.,
2024). torch.optim.Muon does them matrix by matrix, which at our sizes keeps half a core busy; here matrices
of one shape are batched, with equal results up to rounding in bfloat16. A sharded matrix keeps its momentum
sharded; its update is gathered to be orthogonalised, and every rank keeps its slice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from minglm.training.recipe import Stage
from minglm.training.sharding import is_sharded, like, whole

MOST = 2 ** 24                               # elements in the matrices of one batch
RARE = 20.0                                  # the learning rate of rarely seen rows, relative to others


def orthogonal(updates: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """The nearest orthogonal matrices to `updates` (n, R, C), roughly: singular values of 0.7 to 1.2."""
    a, b, c = coefficients
    # Newton-Schulz, x <- a x + b (x x^T) x + c (x x^T)^2 x: pushes singular values in (0, 1] towards 1
    x = updates.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT                                                          # (n, R, R)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Muon):
    """torch.optim.Muon, batched, with Nesterov momentum and updates scaled to the RMS of AdamW's."""

    def __init__(self, params: Iterable, **options):
        super().__init__(params, nesterov=True, adjust_lr_fn="match_rms_adamw", **options)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            grads = [p.grad for p in params]
            for p in params:
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            momenta = [self.state[p]["momentum_buffer"] for p in params]
            torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
            # Nesterov's look-ahead: one operator for all, or one each where sharded, as torch 2.12 wants
            if is_sharded(grads[0]):
                updates = [g.lerp(m, group["momentum"]) for g, m in zip(grads, momenta)]
            else:
                updates = torch._foreach_lerp(grads, momenta, group["momentum"])
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])  # decoupled weight decay
            # batch by shape, up to transposition
            alike = defaultdict(list)
            for p, update in zip(params, updates):
                alike[tuple(sorted(p.shape))].append((p, update))
            for (least, most), pairs in alike.items():
                for few in batched(pairs, max(1, MOST // (least * most))):
                    lying = [u if len(u) == least else u.mT for u in (whole(update) for _, update in few)]
                    made = orthogonal(torch.stack(lying), group["ns_coefficients"], group["ns_steps"],
                                      group["eps"])
                    for (p, _), one in zip(few, made.to(lying[0].dtype)):
                        p.add_(like(one if len(p) == least else one.mT, p),
                               alpha=-0.2 * most ** 0.5 * group["lr"])


def batched(items: list, count: int) -> list[list]:
    return [items[i:i + count] for i in range(0, len(items), count)]


def optimisers(stage: Stage) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the stage's hidden matrices. To be called once the model is on its device."""
    recipe, named = stage.recipe, [(n, p) for n, p in stage.model.named_parameters() if p.requires_grad]
    hidden = [p for n, p in named if recipe.muon_lr and p.ndim == 2 and stage.muon(n)]
    chosen = {id(p) for p in hidden}
    rest = [p for _, p in named if id(p) not in chosen]
    # AdamW moves a row by about lr whenever it is seen, whatever its size: of entries around 0.5 that are
    # seen once in fifty steps nothing would be left to see at the end
    rare = {id(p) for n, p in named if stage.rare(n)}
    groups = [dict(params=[p for p in rest if p.ndim >= 2 and id(p) not in rare],
                   weight_decay=recipe.weight_decay, scale=1.0),
              dict(params=[p for p in rest if p.ndim < 2], weight_decay=0.0, scale=1.0),
              dict(params=[p for p in rest if id(p) in rare], weight_decay=0.0, scale=RARE)]
    made = [torch.optim.AdamW([g for g in groups if g["params"]], lr=recipe.lr, betas=(0.9, 0.98),
                              fused=True)]
    if hidden:
        made.append(Muon(hidden, lr=recipe.muon_lr, weight_decay=recipe.weight_decay, momentum=0.95,
                         ns_steps=4))
    return made


class EMA:
    """An exponential moving average of a model's parameters; the average is what is saved as weights."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.live = [p for p in model.parameters() if p.requires_grad]
        self.mean = [p.detach().clone() for p in self.live]

    def update(self, step: int) -> None:
        keep = min(self.decay, (1 + step) / (10 + step))                      # forget the initialisation soon
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.live], 1 - keep)

    def swap(self) -> None:
        """Swap the model's parameters with the average; a second call swaps them back."""
        for p, m in zip(self.live, self.mean):
            value = p.detach().clone()
            p.data.copy_(m)
            m.copy_(value)
