"""Pictures to edit: what the planner and the decoder read of a source image.

The planner reads its ids before the prompt, each image between boi and eoi. The decoder attends to it: its
clean latents go through the decoder once, at time 0, and the keys and values of every block are cached. Both
work on 32-pixel cells, so height and width of a source image must be multiples of 32.

Shapes: h, w id grid (32 h x 32 w pixels) · C latent channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from minglm.config import TokenizerConfig
from minglm.images import to_tensor
from minglm.model.decoder import Decoder
from minglm.model.memory import Memory, moved, picked
from minglm.model.tokenizer import Tokenizer
from minglm.world.carried import Carried
from minglm.world.colours import COLOURS

NEAR, GROUND = 12, 0.15                      # to be a ground: RGB distance from its colour, share of a poster
HALF_CELL = 16                               # pixels of the half-size image per id


@dataclass
class Source:
    """A picture to edit, as both networks read it."""

    ids: Tensor                              # (h, w)
    latents: Tensor                          # (1, C, 4 h, 4 w)


def half_size(height: int, width: int, sides: tuple[int, int]) -> tuple[int, int]:
    """The size at which a source image is tokenised: about half, in multiples of 16, once its shorter side is
    scaled to at least sides[0] and its longer side to at most sides[1].

    Raises ValueError if a side is below 16 pixels or over four times the other. Mirrors smart_resize.
    """
    short, long = sorted((height, width))
    if short < HALF_CELL or long > 4 * short:
        raise ValueError(f"an image of {height}x{width} cannot be edited: at least {HALF_CELL} pixels and "
                         "at most four times as long as wide are needed")
    least, most = sides
    scale = least / short if short < least else 1.0
    if long * scale > most:
        scale = most / long
    half = [max(1, round(side // 2 * scale / HALF_CELL)) * HALF_CELL for side in (height, width)]
    if max(half) > most:  # rounding up a very small limit
        half = [max(1, int(side / (max(half) / most) / HALF_CELL)) * HALF_CELL for side in half]
    return half[0], half[1]


def fit(image: Image.Image, config: TokenizerConfig) -> Image.Image:
    """A source image resized so that both can read it: height and width are multiples of 32."""
    height, width = (2 * side for side in half_size(image.height, image.width, config.sides))
    if (image.height, image.width) == (height, width):
        return image
    return image.resize((width, height), Image.Resampling.LANCZOS)


def halved(image: Image.Image, config: TokenizerConfig) -> Tensor:
    """The vision encoder's input: the half-size picture, normalised, (1, 3, 16 h, 16 w)."""
    half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
    pixels = np.asarray(half, dtype=np.float32) / 255
    pixels = (pixels - np.float32(config.mean)) / np.float32(config.std)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


@torch.no_grad()
def read_poster(image: Image.Image, tokenizer: Tokenizer, vae: nn.Module) -> Source:
    """As `read`, for models that were trained on posters, which halve a picture as their training does."""
    like = next(vae.parameters())
    pixels = to_tensor([image]).to(like.device, like.dtype)
    return Source(tokenizer.encode(pixels)[0], vae.encode(pixels))


@torch.no_grad()
def read(image: Image.Image, tokenizer: Tokenizer, vae: nn.Module) -> Source:
    """A picture of whole cells (see `fit`) as ids and latents."""
    quantiser, weight = tokenizer.quantiser, tokenizer.quantiser.codes
    pixels = halved(image, tokenizer.config).to(weight.device, weight.dtype)
    ids = quantiser.nearest(quantiser.project(tokenizer.encoder(pixels)))
    like = next(vae.parameters())                        # the VAE may be in another precision
    return Source(ids[0], vae.encode(to_tensor([image]).to(like.device, like.dtype)))


def is_poster(image: Image.Image) -> bool:
    """Whether a picture has a ground of one plain colour of the poster world, or of one inverted."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    colours = np.array([colour for colour, _ in COLOURS.values()], dtype=np.float32)
    far = np.linalg.norm(pixels[:, :, None] - np.concatenate([colours, 255 - colours]), axis=-1)  # (H, W, 24)
    return bool(((far < NEAR).mean((0, 1)) >= GROUND).any())


def remembered(decoder: Decoder, some: list[Source], kept: Sequence[Carried] = ()) -> list[Memory]:
    """What the decoder attends to of each picture to edit; kept: of each, which tokens, and where, if that is
    known."""
    found = [decoder.remember(one.latents, one.ids[None]) for one in some]
    for i, (numbers, shift) in enumerate(kept):
        device = found[i][0][0].device
        numbers, shift = torch.from_numpy(numbers).to(device), torch.from_numpy(shift).float().to(device)
        found[i] = moved(picked(found[i], numbers), shift[None], decoder.config)
    return found


def per_prompt(image, count: int) -> list[list]:
    """`image=` of a call as one list of pictures per prompt, from one picture, a list for one prompt, or a
    list of lists. Raises ValueError if there are not as many as prompts, or only some are empty."""
    if image is None:
        return [[] for _ in range(count)]
    many = list(image) if isinstance(image, list | tuple) else [image]
    if not any(isinstance(one, list | tuple) for one in many):
        many = [many]
    if len(many) != count or not all(isinstance(some, list | tuple) for some in many):
        raise ValueError(f"source images for {len(many)} of {count} prompts: "
                         "give one list of images per prompt")
    if any(many) and not all(many):
        raise ValueError("some prompts have source images and some have none: paint them in two calls")
    return [list(some) for some in many]
