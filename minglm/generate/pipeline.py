"""The pipeline: a prompt is planned as ids, painted as latents, and decoded into a picture.

    pipe = Pipeline.from_pretrained("mini")
    out = pipe('A yellow poster with an apple in the centre and the red word "HELLO" at the bottom.')
    out.images[0].save("poster.png")

Shapes: B pictures · C latent channels · H, W pixels · h, w id grid (latents: 4 h x 4 w) · p, q preview grid.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from minglm.config import Config
from minglm.device import Device, pick, usual_defaults
from minglm.generate import best, leading, legible, paint, request, sources
from minglm.generate.adapters import Adapters
from minglm.generate.candidates import as_chosen, plans
from minglm.generate.plan import Generators, sample_ids
from minglm.generate.request import Output, Understood, one_each, repeat, understood
from minglm.images import open_image, to_images, to_tensor
from minglm.model import flow
from minglm.model import weights as disk
from minglm.model.bpe import BPE
from minglm.model.editing import Editing
from minglm.model.memory import Memory
from minglm.model.prompt import preview_grid, prompt_ids, text_offset, with_sources
from minglm.published import snapshot
from minglm.validate import real, seed_or_seeds, whole
from minglm.world.quotes import quoted


class Pipeline:
    """All parts of one model, on one device."""

    specials = False                         # whether <sop> and the like in a prompt are special tokens
    quoted = staticmethod(quoted)            # the texts of a prompt

    def __init__(self, config: Config, bpe: BPE, parts: dict, device: Device):
        self.config, self.bpe, self.device = config, bpe, device
        parts = {name: part.to(device.device) for name, part in parts.items()}
        self.vae, self.tokenizer, self.planner = parts["vae"], parts["tokenizer"], parts["planner"]
        self.glyph, self.decoder = parts["glyph"], parts["decoder"]
        self.adapters, self.editing = (kind(self.planner, self.decoder) for kind in (Adapters, Editing))

    @classmethod
    def from_pretrained(cls, weights: str | Path = "mini", device: str | Device = "auto",
                        dtype: torch.dtype = torch.float32) -> Pipeline:
        """Load weights: a name under data/weights, a folder written by `save_pretrained`, or a snapshot in
        the published layout (minglm.published), which is loaded in `dtype`."""
        device = pick(device)
        if snapshot.is_snapshot(weights):
            return cls(*snapshot.load(weights, dtype), device)
        folder = disk.find(weights)
        pipe = cls(*disk.load(folder), device)
        pipe.editing.folder = folder if pipe.config.edits else None
        return pipe

    def save_pretrained(self, folder: str | Path, layout: str = "minglm") -> None:
        """Write every part to `folder`: in half precision, or, with layout="published", in its own precision,
        for the published pipeline to load. Adapters are merged into what is written."""
        if layout not in ("minglm", "published"):
            raise ValueError(f"unknown layout {layout!r}: choose minglm or published")
        save = snapshot.save if layout == "published" else disk.save
        with self.adapters.merged():
            save(folder, self.config, self.bpe, {name: getattr(self, name) for name in disk.PARTS})
        if layout == "minglm":
            self.editing.save(Path(folder), self.config.name)

    def load_lora(self, folder: str | Path, scale: float = 1.0, merge: bool = False) -> None:
        """Put the LoRA adapters of a folder on planner and decoder: see Adapters.load."""
        self.adapters.load(folder, scale, merge)

    def unload_lora(self) -> None:
        """Take all adapters off: the weights are what they were, to the last bit."""
        self.adapters.unload()

    @torch.no_grad()
    def encode_ids(self, images: list[Image.Image]) -> list[Tensor]:
        """Pictures of one size -> their ids, (h, w) each."""
        with usual_defaults():
            if not self.config.posters:
                return [self.read(open_image(image)).ids.cpu() for image in images]
            return list(self.tokenizer.encode(to_tensor(images).to(self.device.device)).cpu())

    @torch.no_grad()
    def reconstruct(self, images: list[Image.Image]) -> list[Image.Image]:
        """Pictures of one size, through the VAE and back."""
        return to_images(self.vae.decode(self.latents(images)))

    @torch.no_grad()
    def latents(self, images: list[Image.Image]) -> Tensor:
        """Pictures of one size -> (B, C, H/8, W/8)."""
        with usual_defaults():
            return self.vae.encode(to_tensor(images).to(self.device.device, paint.dtype_of(self.vae)))

    def fit(self, image: Image.Image) -> Image.Image:
        """A picture to edit, resized to whole cells."""
        return sources.fit(image, self.config.tokenizer)

    def read(self, image: Image.Image) -> sources.Source:
        """The ids and latents of a picture to edit."""
        read = sources.read_poster if self.config.posters else sources.read
        return read(self.fit(image), self.tokenizer, self.vae)

    @torch.no_grad()
    def __call__(self, prompt: str | list[str], height: int | None = None, width: int | None = None,
                 image=None, steps: int = 20, guidance: float = 1.5, temperature: float = 0.9,
                 top_p: float = 0.75, seed: int | list[int] = 0, planner_seed: int | None = None,
                 planner_guidance: float | None = None, candidates: int | None = None,
                 prior_ids: Tensor | list[Tensor] | None = None, latents: Tensor | None = None,
                 enhance: bool = True, progress: bool = True,
                 on_step: Callable[[int, Tensor], None] | None = None, top_k: int | None = None,
                 images_per_prompt: int = 1) -> Output:
        """Paint one picture per prompt.

        height, width: pixels, multiples of 32; None: the smallest in which texts and objects fit, or as the
        first picture to edit. enhance: let the enhancers of the poster world rewrite the prompt. image: a
        picture to edit, up to four, or a list of some for each prompt. guidance: of the decoder; 1 disables
        it, as it does planner_guidance (None: 1.5 for posters, 1 for edits). temperature (0: the most
        probable id), top_p, top_k (None: all ids): the planner's. candidates: plans to draw per picture
        (None: 8 for posters); the best is painted, from the best of several noises; 1: one of each. seed:
        picture i uses seed + i, or the i-th of a sequence, as does the enhancer; planner_seed likewise (None:
        as seed). prior_ids: (h, w) ids per picture, which skips the planner. latents: (B, C, H/8, W/8) noise
        to start from. on_step(i, latents): called after each step. images_per_prompt: in a row. Raises
        ValueError for bad input.
        """
        with usual_defaults():
            # 1. Validate every argument before any work starts.
            prompts = request.as_list(prompt)
            each, steps = whole("images_per_prompt", images_per_prompt, 1), whole("steps", steps, 1, 1000)
            request.validate(prompts, height, width, self.config)
            guidance = real("guidance", guidance, -100, 100)
            count, cell, scale = each * len(prompts), self.config.cell, self.config.vae.scale
            seed = seed_or_seeds(seed, count)
            images = sources.per_prompt(image, len(prompts))
            images = [[self.fit(open_image(one)) for one in some] for some in images]
            weight = request.guided(planner_guidance, self.config, any(images))
            how = request.sampling(temperature, top_p, top_k, weight) | dict(progress=progress)
            asked = self.understand(
                repeat(prompts, each), one_each(seed, count), height, width, enhance, repeat(images, each))
            most = request.tries(candidates, self.config)
            candidates = most if temperature and any(asked.lines + asked.expected + images) else 1
            rows, columns = asked.height // cell, asked.width // cell
            planner_seed = seed if planner_seed is None else seed_or_seeds(planner_seed, count)
            shape = self.config.vae.channels, asked.height // scale, asked.width // scale
            if latents is not None and tuple(latents.shape) != (count, *shape):
                raise ValueError(f"latents of shape {tuple(latents.shape)}: {(count, *shape)} is needed")
            if prior_ids is not None:
                given = request.given_ids(prior_ids, count, rows, columns, self.config.decoder.codebook)

            # 2. Read the pictures to edit, as ids and as latents, and tell what they should become.
            read = [[self.read(one) for one in some] for some in images]
            if self.config.posters and any(read):
                with self.editing.on(False):
                    asked = leading.understood(self.decoder, self.glyph, asked, prompts, images, read,
                                               self.config.flow, enhance)
            request.tell(asked.notes, progress)
            with self.editing.on(any(read)):
                memory = leading.remembered(self.decoder, repeat(read, each), asked.expected)

                # 3. Plan: sample the grid of ids, several times, and choose; or take the one that was given.
                if prior_ids is None:
                    preview, plan, likelihood = plans(
                        self.plans, self.plan, self.editing, asked, read, each, candidates, rows, columns,
                        planner_seed, how, request.guided(planner_guidance, self.config))
                    if candidates > 1:
                        which = best.choose(
                            self.decoder, self.glyph, asked.lines, plan, self.noise(
                                planner_seed, count, shape), memory, likelihood, asked.expected, self.vae)
                        preview, plan = preview[which], plan[which]
                        told, asked = len(asked.notes), as_chosen(asked, which, candidates)
                        request.tell(asked.notes[told:], progress)
                else:
                    preview, plan = torch.empty(count, 0, 0), given
                # 4. Paint: from noise to latents, step by step; posters are begun several times.
                plan, begun = plan.to(self.device.device), []
                path = flow.schedule(steps, 4 * rows * columns, self.config.flow)
                velocity = self.velocity(asked.lines, plan, guidance, memory if any(memory) else None)
                if most > 1 and guidance >= 1 and latents is None and not any(memory):
                    begun = best.begin(self.decoder, self.glyph, asked.lines, plan, seed, *path)
                latents = self.noise(seed, count, shape) if latents is None else latents
                latents = paint.denoise(velocity, latents.to(plan.device), *path, progress, on_step, begun)

            # 5. Decode: from latents to pixels.
            images = to_images(self.vae.decode(latents.to(paint.dtype_of(self.vae))))
            return Output(images, list(plan.cpu()), list(preview), asked.captions, asked.notes)

    def noise(self, seed: int | list[int], count: int, shape: tuple[int, ...]) -> Tensor:
        """The noise of `count` pictures, (B, C, 4 h, 4 w)."""
        return torch.stack([paint.noise(shape, paint.generator(s)) for s in one_each(seed, count)])

    def plans(self, prompts: list[str], each: int, rows: int, columns: int, seed: int | list[int],
              read: list[list[sources.Source]], **how) -> tuple[Tensor, Tensor]:
        """As `plan`, by `how`, for prompts that stand `each` times in `prompts`, but once in `read`."""
        generators = [paint.generator(s) for s in one_each(seed, len(prompts))]
        return self.plan(prompts, rows, columns, generators, repeat(read, each), **how)

    def plan(self, prompts: list[str], rows: int, columns: int, generators: Generators,
             read: list[list[sources.Source]] | None = None, temperature: float = 0.9, top_p: float = 0.75,
             top_k: int | None = None, progress: bool = False, guidance: float = 1,
             likelihood: Tensor | None = None, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Preview ids (B, p, q) and large ids (B, rows, columns) of each prompt.

        With pictures to edit there is no preview, (B, 0, 0). The rest: as in `sample_ids`.
        """
        how, planner = request.sampling(temperature, top_p, top_k, guidance), self.planner.config
        read = read or [[] for _ in prompts]
        preview = None if any(read) else preview_grid(rows, columns, planner.preview_tokens)
        offset = text_offset(self.bpe, planner)
        if guidance != 1:                    # the unconditional branch
            without = [request.unconditional(p, self.config, some) for p, some in zip(prompts, read)]
            prompts, read = [*prompts, *without], read * 2
        texts = [prompt_ids(self.bpe, p, rows, columns, preview, offset, planner.boi, self.specials)
                 for p in prompts]
        if self.config.posters and (longest := max(map(len, texts))) > request.MOST_PROMPT_IDS:
            raise ValueError(f"a prompt of {longest} ids is too long: at most {request.MOST_PROMPT_IDS}")
        ids, parts = zip(*(with_sources([s.ids for s in some], text, planner)
                           for some, text in zip(read, texts)))
        grids = [preview, (rows, columns)] if preview else [(rows, columns)]
        with tqdm(desc="planning", total=sum(h * w for h, w in grids), unit="id", disable=not progress,
                  leave=False) as bar:
            *small, large = sample_ids(self.planner, list(ids), grids, generators,
                                       **how | dict(top_k=how["top_k"] or 0), parts=list(parts),
                                       progress=lambda done, _: bar.update(done - bar.n),
                                       likelihood=likelihood, kept=kept)
        return small[0] if small else large[:, :0, :0], large

    def unwritten(self, instruction: str, read: list[sources.Source], width: int) -> list[str]:
        """What an instruction wants written that is not in the pictures yet: see generate/legible.py."""
        with self.editing.on(False):
            return legible.lines(self.decoder, self.glyph, read, instruction, width, self.config.flow)

    def velocity(self, texts: list[list[str]], plan: Tensor, guidance: float,
                 memory: list[list[Memory]] | None = None) -> paint.Velocity:
        """The function that gives the guided velocity: see generate/paint.py."""
        return paint.velocity(self.decoder, self.glyph, texts, plan, guidance, memory)

    def understand(self, prompts: list[str], seeds: list[int], height: int | None, width: int | None,
                   enhance: bool, images: list[list[Image.Image]] | tuple = ()) -> Understood:
        """What is painted for each prompt, and its size. Raises ValueError for what cannot be painted."""
        return understood(self.config, self.quoted, prompts, seeds, height, width, enhance, images)
