"""minglm against the published implementation: the same random weights, threads, dtype and sizes, in one run.

    python benchmarks/against_hf.py [--size mini large] [--rows generation sampling step] [--repeats 5] [--threads 2]

Ours and theirs take turns, so that a busy machine slows both; the table gives medians and their ratio.
Before anything is timed, both must give the same latents and losses, but for rounding. Of the ids drawn the table says how
many are the same, because there one rounding error is enough for another id, and everything after it differs too. Peak
memory of a training step is measured in processes of their own, the median of three for each side: what the resident set
grows by, from before the model is built to its highest point.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import median

import diffusers
import torch
import torch.nn.functional as F
import transformers
from einops import repeat

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
warnings.filterwarnings("ignore")

import published  # noqa: E402  (tests/published.py builds the published classes with random weights)

from minglm.device import set_threads  # noqa: E402
from minglm.generate.pipeline import Pipeline  # noqa: E402
from minglm.model import flow  # noqa: E402
from minglm.model.glyph import collate  # noqa: E402
from minglm.model.planner import Planner, positions  # noqa: E402
from minglm.published import read_config, snapshot  # noqa: E402

SMALL = dict(spare=128, vision=(48, 1, 2, 96, 8, 16), vae=((8, 8, 8, 8), 1, 4), channels=16, glm4=True, sides=(64, 256))
SIZES = dict(  # widths as in tests/published.py; side of the picture; pictures of a training step
    mini=dict(SMALL, codes=1024, width=256, heads=8, kv=2, layers=4, mlp=768, mrope=[2, 3, 3],
              glyph=(192, 2, 6, 32, 512, 32, 128), decoder=(4, 8, 32, 128, 64), side=128, batch=32),
    large=dict(SMALL, codes=16384, width=1024, heads=16, kv=2, layers=14, mlp=2816, mrope=[4, 6, 6],
               glyph=(512, 4, 6, 64, 1024, 32, 128), decoder=(12, 16, 64, 512, 128), side=256, batch=2),
)
PROMPT = 'a red cube on a yellow table with the word "HELLO" above it'
STEPS, GUIDANCE = 8, 1.5


def write_snapshot(folder: str, size: str) -> None:
    """The published pipeline with random weights, in its own layout."""
    published.build(sizes=SIZES[size]).save_pretrained(folder)


def module(folder: str, part: str, ours: bool):
    """Planner or decoder out of a snapshot, as our class or as the published one."""
    name = dict(planner="vision_language_encoder", decoder="transformer")[part]
    if ours:
        return snapshot.load_folder(Path(folder, name), name, read_config.read(Path(folder)), torch.float32)[part]
    kind = dict(planner=transformers.GlmImageForConditionalGeneration, decoder=diffusers.GlmImageTransformer2DModel)
    return kind[part].from_pretrained(Path(folder, name))


def doubled(plan: torch.Tensor) -> torch.Tensor:
    """Ids (B, h, w) as the published decoder wants them, one for each image token: (B, 4 h w)."""
    return repeat(plan, "b h w -> b (h p w q)", p=2, q=2)


# ---------------------------------------------------------------- what is timed

def rounding_freely(planner: Planner) -> Planner:
    """The same planner with `exact` off, as minglm's own presets have it."""
    copy = Planner(replace(planner.config, exact=False))
    copy.load_state_dict(planner.state_dict())
    return copy.to(planner.embed.weight.dtype).eval()


def planner_generation(ours, theirs, size: str, batch: int):
    """Whole plans: preview and large grid, tokens drawn with temperature, top-k and top-p from one generator."""
    side, cells = SIZES[size]["side"], SIZES[size]["side"] // 32
    prompts = [PROMPT] * batch

    def mine():
        generator = torch.Generator().manual_seed(0)
        return ours.plan(prompts, cells, cells, generator, temperature=0.9, top_p=0.75, top_k=50)[1].flatten(1)

    def published_one():
        ids = theirs.generate_prior_tokens(prompts, side, side, generator=torch.Generator().manual_seed(0))[0]
        return ids.view(batch, 2 * cells, 2 * cells)[:, ::2, ::2].flatten(1)

    return mine, published_one


def decoder_sampling(ours, theirs, size: str, batch: int):
    """Latents after STEPS guided steps, glyph encoder included, from given ids and noise."""
    side, cells = SIZES[size]["side"], SIZES[size]["side"] // 32
    g = torch.Generator().manual_seed(1)
    noise = torch.randn(batch, 16, side // 8, side // 8, generator=g)
    plan = torch.randint(0, SIZES[size]["codes"], (batch, cells, cells), generator=g)
    times, sigmas = flow.schedule(STEPS, 4 * cells * cells, ours.config.flow)

    @torch.no_grad()
    def mine():
        velocity = ours.velocity(ours.validate([PROMPT] * batch, side, side), plan, GUIDANCE)
        for latents in flow.sample(velocity, noise, times, sigmas):
            pass
        return latents

    def published_one():
        return theirs(prompt=[PROMPT] * batch, height=side, width=side, prior_token_ids=doubled(plan), latents=noise.clone(),
                      num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="latent").images

    return mine, published_one


def planner_step(model, size: str, ours: bool):
    """One training step on plans: loss, gradients, AdamW."""
    s, g = SIZES[size], torch.Generator().manual_seed(2)
    cells = s["side"] // 32
    words = model.config.vocab if ours else model.config.text_config.vocab_size
    first, rows = s["codes"] + s["spare"], 16 if size == "large" else 2          # of the preview, which is square
    prompts = [torch.randint(first, words, (int(n),), generator=g).tolist() + [s["codes"]]
               for n in torch.randint(20, 60, (s["batch"],), generator=g)]
    grids = [torch.randint(0, s["codes"], (s["batch"], n, n), generator=g) for n in (rows, cells)]
    if ours:
        return lambda: model.loss(prompts, *grids)[0]

    target = torch.cat([*(grid.flatten(1) for grid in grids), torch.full((s["batch"], 1), s["codes"] + 1)], 1)
    count = target.shape[1]
    longest = max(map(len, prompts)) + count - 1
    ids, labels = torch.zeros(s["batch"], longest, dtype=torch.long), torch.full((s["batch"], longest), -100)
    place, seen = torch.zeros(3, s["batch"], longest, dtype=torch.long), torch.zeros(s["batch"], longest, dtype=torch.long)
    for b, prompt in enumerate(prompts):
        end = len(prompt) + count - 1
        ids[b, :end] = torch.cat([torch.tensor(prompt), target[b, :-1]])
        labels[b, len(prompt) - 1:end], seen[b, :end] = target[b], 1
        place[:, b, :end] = positions([len(prompt), (rows, rows), (cells, cells)])
    weight = torch.ones(count).index_fill(0, torch.arange(rows * rows), 2.0)

    def loss():
        features = model.model.language_model(input_ids=ids, position_ids=place, attention_mask=seen).last_hidden_state
        scores = model.lm_head(features).float().transpose(1, 2)
        each = F.cross_entropy(scores, labels, ignore_index=-100, reduction="none")
        return (each[labels >= 0].view(-1, count) * weight).sum() / (len(ids) * weight.sum())

    return loss


def decoder_step(model, size: str, ours: bool):
    """One training step on latents: the flow-matching loss, gradients, AdamW.

    All pictures have as many letters, as the published mask does not mask; ours is given its mask all the same.
    """
    s, g = SIZES[size], torch.Generator().manual_seed(3)
    batch, latent, cells, width = s["batch"], s["side"] // 8, s["side"] // 32, s["glyph"][0]
    data, noise = (torch.randn(batch, 16, latent, latent, generator=g) for _ in range(2))
    u, plan = torch.rand(batch, generator=g), torch.randint(0, s["codes"], (batch, cells, cells), generator=g)
    letters = collate([["HELLO", "YOU"]] * batch)["tokens"]                      # (B, S), True = a token
    glyphs = torch.randn(*letters.shape, width, generator=g)
    keep, mixed = torch.rand(batch, generator=g) > 0.1, flow.mix(data, noise, u)
    if ours:
        def loss():
            v = model(mixed, 1000 * u - 1, plan, glyphs, letters, keep)
            return flow.loss(v, data, noise, torch.ones(batch, 1, latent, latent))
        return loss

    prior = doubled(plan)
    drop = (~keep)[:, None].expand_as(prior)
    sizes, corner = torch.full((batch, 2), float(s["side"])), torch.zeros(batch, 2)

    def loss():
        v = model(hidden_states=mixed, encoder_hidden_states=glyphs, prior_token_id=prior, prior_token_drop=drop,
                  timestep=1000 * u - 1, target_size=sizes, crop_coords=corner, return_dict=False)[0]
        return (v - (noise - data)).square().mean()

    return loss


def training(model, part: str, size: str, ours: bool, autocast: bool):
    """A function that does one training step and returns its loss. autocast: in bfloat16, as `minglm train` does."""
    model.requires_grad_(True).train()
    loss = dict(planner=planner_step, decoder=decoder_step)[part](model, size, ours)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = loss()
        value.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return value.detach()

    return step


# ---------------------------------------------------------------- measuring

def milliseconds(mine, other, repeats: int) -> tuple[float, float]:
    """The median of each, taking turns after one call of each to warm up."""
    times = ([], [])
    for turn in range(repeats + 1):
        for which, function in enumerate((mine, other)):
            began = time.perf_counter()
            function()
            if turn:
                times[which].append(time.perf_counter() - began)
    return 1000 * median(times[0]), 1000 * median(times[1])


def grown_by(folder: str, part: str, size: str, ours: bool, autocast: bool) -> float:
    """MiB by which this process grows to do training steps, at the highest point."""
    def resident(what: str) -> float:
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what)) / 1024

    before = resident("VmRSS")
    step = training(module(folder, part, ours), part, size, ours, autocast)
    step()
    Path("/proc/self/clear_refs").write_text("5")                                # start the high-water mark anew
    step()
    return resident("VmHWM") - before


def memory(folder: str, part: str, size: str, ours: bool, autocast: bool, threads: int) -> float:
    """The same in a process of its own; the median of three, since it depends on how the allocator happens to fill up."""
    command = [sys.executable, __file__, "--size", size, "--threads", str(threads),
               "--grow", folder, part, "ours" if ours else "theirs", "bfloat16" if autocast else "float32"]
    return median(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]) for _ in range(3))


def compare(size: str, options) -> list[dict]:
    """All rows of the table for one size."""
    dtype, rows = getattr(torch, options.dtype), []

    def add(what: str, mine: float, other: float, bar: float, unit: str = "ms") -> None:
        ratio = mine / other if unit == "MiB" else other / mine
        kept = ratio <= bar if unit == "MiB" else ratio >= bar
        rows.append(dict(size=size, what=what, ours=round(mine, 1), theirs=round(other, 1), unit=unit,
                         ratio=round(ratio, 2), bar=bar, kept=kept))
        print(f"| {size} | {what} | {mine:,.1f} {unit} | {other:,.1f} {unit} | {ratio:.2f} | "
              f"{'<=' if unit == 'MiB' else '>='} {bar}{'' if kept else ', MISSED'} |", flush=True)

    def chosen(what: str) -> bool:
        return any(words in what for words in options.rows)

    def race(what: str, pair, bar: float, **tolerance) -> None:
        if not chosen(what):
            return
        assert dtype != torch.float32 or torch.allclose(pair[0](), pair[1](), **tolerance), f"{what}: other results"
        add(what, *milliseconds(*pair, options.repeats), bar)

    def drawn(what: str, pair, bar: float) -> None:
        if not chosen(what):
            return
        same = pair[0]() == pair[1]()
        add(f"{what} ({same.sum()} of {same.numel()} ids theirs)", *milliseconds(*pair, options.repeats), bar)

    with tempfile.TemporaryDirectory() as folder:
        write_snapshot(folder, size)
        ours = Pipeline.from_pretrained(folder, "cpu", dtype=dtype)
        theirs = diffusers.GlmImagePipeline.from_pretrained(folder, torch_dtype=dtype)
        theirs.set_progress_bar_config(disable=True)
        exact = ours.planner
        for how, planner in (("to the last bit", exact), ("rounded freely", rounding_freely(exact))):
            ours.planner = planner
            for batch in (1, 8):
                drawn(f"planner generation, batch {batch}, {how}", planner_generation(ours, theirs, size, batch), 2)
        ours.planner = exact
        for batch in (1, 4):
            race(f"decoder sampling with guidance, batch {batch}", decoder_sampling(ours, theirs, size, batch), 1.3, atol=1e-3)
        del ours, theirs
        for part, autocast in product(("planner", "decoder"), (True, False)):
            what = f"{part} training step, {'bfloat16 autocast' if autocast else 'float32'}"
            if not chosen(what):
                continue
            pair = [training(module(folder, part, mine), part, size, mine, autocast) for mine in (True, False)]
            race(what, pair, 1.2, rtol=0.01 if autocast else 1e-4)
            del pair
            add(f"{what}, peak memory", *(memory(folder, part, size, mine, autocast, options.threads) for mine in (True, False)),
                0.9, "MiB")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs="+", choices=tuple(SIZES), default=tuple(SIZES))
    parser.add_argument("--rows", nargs="+", default=[""], help="only rows that contain one of these words")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of generation and sampling")
    parser.add_argument("--out", type=Path, help="write the table as JSON too")
    parser.add_argument("--grow", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    set_threads(options.threads)
    transformers.logging.set_verbosity_error()
    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    transformers.logging.disable_progress_bar()
    if options.grow:
        folder, part, side, kind = options.grow
        print(grown_by(folder, part, options.size[0], side == "ours", kind == "bfloat16"))
        return
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, diffusers {diffusers.__version__}, "
          f"{options.dtype}, {options.threads} threads, medians of {options.repeats}\n")
    print("| size | what | minglm | published | ratio | bar |\n|---|---|---|---|---|---|")
    rows = [row for size in options.size for row in compare(size, options)]
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
