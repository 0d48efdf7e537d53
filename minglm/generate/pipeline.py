"""The pipeline: a prompt is planned as ids, painted as latents, and decoded to a picture.

    pipe = Pipeline.from_pretrained("mini")
    out = pipe('A yellow poster with an apple in the centre and the red word "HELLO" at the bottom.')
    out.images[0].save("poster.png")

Shapes: B pictures · C latent channels · h, w id grid (latents are 4 h x 4 w) · S glyph tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from minglm import compat as published, editing, flow, hf, painting, posters, weights as disk
from minglm.config import Config
from minglm.decoder import Memory
from minglm.device import Device, pick
from minglm.layout import fits, is_han
from minglm.painting import dtype_of, repeat
from minglm.text import BPE, preview_grid, prompt_ids, quoted

MOST_TEXTS, MOST_PROMPT_IDS, SMALLEST_SIDE = 3, 512, 96


@dataclass
class Output:
    """What a call gives: pictures, the ids they were painted from, and the preview ids."""

    images: list[Image.Image]
    plan: list[Tensor]                       # (h, w) int64, one per picture
    preview: list[Tensor]                    # (p, q) int64; empty if the plan was given


def to_tensor(images: list[Image.Image]) -> Tensor:
    """Pictures of one size -> (B, 3, H, W) in [-1, 1]."""
    arrays = np.stack([np.asarray(image.convert("RGB")) for image in images])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(x: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [-1, 1] -> pictures."""
    arrays = ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def open_image(image: str | Path | Image.Image) -> Image.Image:
    """A picture, read whole. Raises ValueError naming a file that is none."""
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    try:
        with Image.open(image) as file:
            return file.convert("RGB")
    except FileNotFoundError:
        raise ValueError(f"no image file {str(image)!r}") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for broken files
        raise ValueError(f"{str(image)!r} is not an image that can be read: {error}") from None


class Pipeline:
    """All parts of one model, on one device."""

    def __init__(self, config: Config, bpe: BPE, parts: dict, device: Device):
        self.config, self.bpe, self.device = config, bpe, device
        parts = {name: part.to(device.device) for name, part in parts.items()}
        self.vae, self.tokenizer, self.planner = parts["vae"], parts["tokenizer"], parts["planner"]
        self.glyph, self.decoder = parts["glyph"], parts["decoder"]

    @classmethod
    def from_pretrained(cls, weights: str | Path = "mini", device: str | Device = "auto",
                        dtype: torch.dtype = torch.float32) -> Pipeline:
        """Load weights: a name under data/weights, a folder that `save_pretrained` wrote, or a snapshot of
        the published layout (minglm.hf), the latter in `dtype`."""
        device = pick(device)
        if hf.is_snapshot(weights):
            return cls(*hf.load(weights, dtype), device)
        folder = disk.find(weights)
        config = disk.load_config(folder)
        parts = {name: disk.load_part(folder, name, config) for name in disk.PARTS}
        return cls(config, disk.load_text(folder), parts, device)

    def save_pretrained(self, folder: str | Path, layout: str = "minglm") -> None:
        """Write every part to `folder`: in half precision, or with layout="hf" in the precision it has
        and such that the published pipeline loads it."""
        if layout not in ("minglm", "hf"):
            raise ValueError(f"unknown layout {layout!r}: choose minglm or hf")
        if layout == "hf":
            return hf.save(folder, self.config, self.bpe, {name: getattr(self, name) for name in disk.PARTS})
        folder = Path(folder)
        for name in disk.PARTS:
            disk.save_part(folder, name, getattr(self, name), self.config)
        (folder / "text").mkdir(parents=True, exist_ok=True)
        self.bpe.save(folder / "text" / "tokenizer.json")
        disk.save_config(folder, self.config)

    # ------------------------------------------------------------ from pictures

    @torch.no_grad()
    def encode_ids(self, images: list[Image.Image]) -> list[Tensor]:
        """Pictures of one size -> their ids, (h, w) each."""
        if not self.config.posters:
            return [source.ids.cpu() for source in editing.read(self, [images])[0]]
        return list(self.tokenizer.encode(to_tensor(images).to(self.device.device)).cpu())

    @torch.no_grad()
    def reconstruct(self, images: list[Image.Image]) -> list[Image.Image]:
        """Pictures of one size -> through the VAE and back."""
        return to_images(self.vae.decode(self.latents(images)))

    def latents(self, images: list[Image.Image]) -> Tensor:
        """Pictures of one size -> (B, C, H/8, W/8)."""
        return self.vae.encode(to_tensor(images).to(self.device.device, dtype_of(self.vae)))

    # ------------------------------------------------------------ from prompts

    @torch.no_grad()
    def __call__(self, prompt: str | list[str], height: int = 128, width: int = 128, image=None,
                 steps: int = 20, guidance: float = 1.5, temperature: float = 0.9, top_p: float = 0.75,
                 seed: int | list[int] = 0, planner_seed: int | None = None,
                 prior_ids: Tensor | list[Tensor] | None = None, latents: Tensor | None = None,
                 progress: bool = True, on_step: Callable[[int, Tensor], None] | None = None,
                 top_k: int | None = None, images_per_prompt: int = 1, compat: str | None = None) -> Output:
        """Paint one picture per prompt.

        height, width: pixels, multiples of 32. image: a picture to edit, several, or a list of several for
        each prompt. guidance: 1 is none. temperature, top_p, top_k (None: all ids): of the planner;
        temperature 0 takes the likeliest id. seed: picture i uses seed + i, or the i-th of a list, so
        that it comes out alike alone and in company; planner_seed likewise (None: as seed). prior_ids:
        (h, w) ids per picture, which skips the planner. latents: (B, C, H/8, W/8) noise to start
        from. on_step(i, latents) is called after every step. images_per_prompt: that many pictures, one
        behind the other. compat="hf": what the published code would give (minglm.compat), with ids shared
        by the pictures of a prompt. Raises ValueError for bad input.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if compat not in (None, "hf"):
            raise ValueError(f"unknown compat {compat!r}: choose None or 'hf'")
        if compat and self.config.glyph.places:
            raise ValueError(f"the {self.config.name} weights are not of the published kind: leave compat out")
        texts, each = self.check(prompts, height, width, compat), images_per_prompt
        if type(each) is not int or each < 1:
            raise ValueError(f"{each} images per prompt: at least 1 is needed")
        images = [[open_image(one) for one in some] for some in editing.per_prompt(image, len(prompts))]
        if any(images) and self.config.posters:
            raise ValueError(f"the {self.config.name} weights are not trained to edit pictures: "
                             "leave the image out")
        rows, columns = height // self.config.cell, width // self.config.cell
        times, sigmas = flow.schedule(steps, 4 * rows * columns, self.config.flow)
        scale, channels, count = self.config.vae.scale, self.config.vae.channels, each * len(prompts)
        shape = (channels, height // scale, width // scale)
        if latents is not None and tuple(latents.shape) != (count, *shape):
            raise ValueError(f"latents of shape {tuple(latents.shape)}: {(count, *shape)} is needed")
        noise, planner = painting.generators(seed, planner_seed, count, compat)
        sources = editing.read(self, images, compat)
        shared = each if compat == "hf" else 1                                   # pictures with the same ids
        prompts, asked = repeat(prompts, each // shared), repeat(sources, each // shared)
        if prior_ids is None:
            preview, plan = self.plan(prompts, rows, columns, temperature, top_p, planner, progress, asked,
                                      top_k, compat)
        else:
            preview = torch.empty(len(prompts), 0, 0)
            plan = self.check_ids(prior_ids, len(prompts), rows, columns)
        preview, plan = preview.repeat_interleave(shared, 0), plan.repeat_interleave(shared, 0)
        if latents is None:
            latents = noise(shape)
        memory = [[self.decoder.remember(s.latents, s.ids[None]) for s in some] for some in sources]
        velocity = self.velocity(repeat(texts, each), plan.to(self.device.device), guidance,
                                 repeat(memory, each) if any(memory) else None, compat)
        latents = latents.to(self.device.device)
        with tqdm(total=steps, desc="painting", unit="step", disable=not progress, leave=False) as bar:
            for i, latents in enumerate(flow.sample(velocity, latents, times, sigmas)):
                bar.update()
                if on_step:
                    on_step(i, latents)
        pictures = to_images(self.vae.decode(latents.to(dtype_of(self.vae))))
        return Output(pictures, list(plan.cpu()), list(preview))

    def plan(self, prompts: list[str], rows: int, columns: int, temperature: float, top_p: float,
             seed: int | list[torch.Generator] | torch.Generator, progress: bool,
             sources: list[list[editing.Source]] | None = None, top_k: int | None = None,
             compat: str | None = None) -> tuple[Tensor, Tensor]:
        """Preview ids (B, p, q) and large ids (B, rows, columns) of each prompt.

        With sources there is no preview (B, 0, 0): the source images say what goes where.
        """
        if not temperature >= 0 or not 0 < top_p <= 1:
            raise ValueError(f"temperature {temperature} and top_p {top_p}: choose a temperature of at "
                             "least 0 and a top_p above 0 and up to 1")
        planner, sources = self.planner.config, sources or [[] for _ in prompts]
        preview = None if any(sources) else preview_grid(rows, columns, planner.preview_tokens)
        offset = 0 if self.bpe.has_codes else planner.vision_vocab
        texts = [prompt_ids(self.bpe, p, rows, columns, preview, offset, planner.boi, compat == "hf")
                 for p in prompts]
        longest = max(map(len, texts))
        if self.config.posters and longest > MOST_PROMPT_IDS:
            raise ValueError(f"a prompt of {longest} ids is too long: at most {MOST_PROMPT_IDS}")
        ids, parts = zip(*(editing.prompt(some, text, planner) for some, text in zip(sources, texts)))
        if top_k is None:
            top_k = published.TOP_K if compat == "hf" else 0
        if isinstance(seed, int):
            seed = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]
        with tqdm(desc="planning", unit="id", disable=not progress, leave=False) as bar:
            def count(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)
            grids = [preview, (rows, columns)] if preview else [(rows, columns)]
            *small, large = self.planner.generate(list(ids), grids, seed, temperature, top_p, top_k,
                                                  parts=list(parts), progress=count)
        return small[0] if small else large[:, :0, :0], large

    def velocity(self, texts: list[list[str]], plan: Tensor, guidance: float,
                 memory: list[list[Memory]] | None = None, compat: str | None = None) -> Callable:
        """The guided velocity of latents at a time: see minglm.painting."""
        return painting.velocity(self.decoder, self.glyph, texts, plan, guidance, memory, compat)

    # ------------------------------------------------------------ checking

    def check(self, prompts: list[str], height: int, width: int, compat: str | None = None) -> list[list[str]]:
        """The texts to write, per prompt. Raises ValueError for what cannot be painted."""
        cell, most = self.config.cell, self.config.max_side
        least = SMALLEST_SIDE if self.config.posters else cell
        if height % cell or width % cell or not (least <= height <= most and least <= width <= most):
            raise ValueError(f"size {height}x{width}: height and width must be multiples of {cell} "
                             f"from {least} to {most}")
        if not prompts or not all(isinstance(p, str) and p.strip() for p in prompts):
            raise ValueError("the prompt is empty: describe a poster, with its words in quotation marks")
        texts = [published.quoted(p) if compat == "hf" else quoted(p) for p in prompts]
        if not self.config.posters:
            return texts
        for text in (t for some in texts for t in some):
            if strange := posters.unknown_characters(text):
                raise ValueError(f"cannot write {' '.join(strange)} in {text!r}: known are A-Z, 0-9, space, "
                                 f"! ? and the {len(posters.han_characters())} Chinese characters of "
                                 "data/words/zh_chars.txt")
            if not fits(text, width):
                letter = next(filter(is_han, text), text[0])                 # one sets the pitch of all
                longest = max(n for n in range(1, len(text)) if fits(letter * n, width))
                raise ValueError(f"{text!r} is too long for {width} pixels: {len(text)} characters, at "
                                 f"most {longest} fit")
        if (count := max(map(len, texts))) > MOST_TEXTS:
            raise ValueError(f"{count} quoted texts: a poster has room for {MOST_TEXTS}")
        return [[text.upper() for text in some] for some in texts]

    def check_ids(self, ids: Tensor | list[Tensor], count: int, rows: int, columns: int) -> Tensor:
        """Given ids as (B, rows, columns)."""
        grids = [ids] if isinstance(ids, Tensor) and ids.ndim == 2 else list(ids)
        if len(grids) != count or any(tuple(grid.shape) != (rows, columns) for grid in grids):
            raise ValueError(f"prior_ids of shapes {[tuple(grid.shape) for grid in grids]}: {count} of "
                             f"{(rows, columns)} are needed")
        ids = torch.stack(grids)
        if ids.min() < 0 or ids.max() >= self.config.decoder.codebook:
            raise ValueError(f"prior_ids from {ids.min()} to {ids.max()}: the codebook has 0 to "
                             f"{self.config.decoder.codebook - 1}")
        return ids.long()
