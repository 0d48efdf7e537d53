"""What ids look like: each is drawn as the mean of all patches of drawn posters that have it.

Ids have no colours of their own. In the plan an id stands for 32 x 32 pixels of the picture; in the preview
for as many pixels of a smaller copy, so its patches there show more of a poster.

Shapes: B posters · K ids · P pixels of a patch's side · h, w id grid.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from minglm.device import usual_defaults
from minglm.images import to_tensor
from minglm.model.tokenizer import Tokenizer
from minglm.world.draw import draw

POSTERS = 3000                               # ten seconds on one core, and 93 % of mini's ids are seen
BATCH = 100

_known: WeakKeyDictionary[Tokenizer, dict[int, tuple[Tensor, Tensor]]] = WeakKeyDictionary()


def mean_patches(tokenizer: Tokenizer, count: int = POSTERS,
                 progress: Callable[[int, int], None] | None = None) -> tuple[Tensor, Tensor]:
    """The mean patch of every id, (K, P, P, 3) uint8: as the plan has it, and as the preview.

    count: of posters to look at. They are looked at once for a tokenizer: a second call takes no time.
    progress(done, count) is called as it goes on.
    """
    known = _known.setdefault(tokenizer, {})
    if count not in known:
        with torch.no_grad(), usual_defaults():
            known[count] = look(tokenizer, count, progress)
    return known[count]


def look(tokenizer: Tokenizer, count: int, progress: Callable[[int, int], None] | None
         ) -> tuple[Tensor, Tensor]:
    """`mean_patches`, computed."""
    config, device = tokenizer.config, tokenizer.quantiser.codes.device
    side = 2 * config.patch                  # the tokenizer halves its picture
    total = torch.zeros(2, config.codebook, side, side, 3)
    times = torch.zeros(2, config.codebook)
    for first in range(0, count, BATCH):
        images = to_tensor([draw(0, i).image for i in range(first, min(first + BATCH, count))])
        for scale, some in enumerate((images, F.avg_pool2d(images, 2))):
            ids = tokenizer.encode(some.to(device)).flatten().cpu()              # (B h w,)
            patches = rearrange(some, "b c (h p) (w q) -> (b h w) p q c", p=side, q=side) / 2 + 0.5
            total[scale].index_add_(0, ids, patches)
            times[scale].index_add_(0, ids, torch.ones(len(ids)))
        if progress:
            progress(min(first + BATCH, count), count)
    mean, seen = total / times.clamp_min(1)[..., None, None, None], times > 0
    # an id that is rare at one scale is drawn as at the other; one that is rare at both is grey
    for own, other in ((0, 1), (1, 0)):
        lent = ~seen[own] & seen[other]
        mean[own, lent] = mean[other, lent]
    mean[:, ~seen.any(0)] = 0.5
    large, small = (255 * mean).round().byte()
    return large, small


def mosaic(ids: Tensor, patches: Tensor) -> np.ndarray:
    """A grid of ids (h, w) as a picture, (h P, w P, 3) uint8."""
    return rearrange(patches[ids], "h w p q c -> (h p) (w q) c").numpy()
