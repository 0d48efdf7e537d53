"""Group-relative policy optimisation: the formulas, and that they learn."""

import gc
import math
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from parallel_worker import losses
from torch import nn

from minglm.device import pick
from minglm.generate.pipeline import Pipeline
from minglm.generate.request import GUIDED
from minglm.measure import rewards
from minglm.model.decoder import Decoder
from minglm.model.glyph import GlyphEncoder
from minglm.model.planner import Planner
from minglm.model.tokenizer import Tokenizer
from minglm.model.vae import VAE
from minglm.training import stage_grpo_decoder, stage_grpo_planner
from minglm.training.batches import pixels
from minglm.training.grpo import advantages, clipped, divergence, follow, frozen
from minglm.training.loop import train
from minglm.training.recipe import Recipe
from minglm.training.stage_grpo_planner import Reinforcement, grpo_planner_stage, log_probabilities
from minglm.world.draw import draw
from minglm.world.explicit import explicit

CPU, ROOT = pick("cpu"), Path(__file__).resolve().parent.parent


def test_advantages_compare_within_groups():
    rewards = torch.tensor([1.0, 2, 3, 10, 10, 10, 0, 0, 1])
    a = advantages(rewards, 3).view(3, 3)
    assert torch.allclose(a.mean(1), torch.zeros(3), atol=1e-6)
    assert a[0, 0] < a[0, 1] < a[0, 2] and abs(a[0, 1]) < 1e-6
    assert not a[1].any()                                                        # nothing to learn
    # what a prompt is worth on the whole does not matter, nor the unit of the reward
    other = 5 * rewards + torch.tensor([7.0] * 3 + [-3] * 3 + [1] * 3)
    assert torch.allclose(advantages(other, 3), a.flatten(), atol=1e-3)


@pytest.mark.parametrize("count, size", [(8, 3), (4, 1)])
def test_samples_that_are_no_whole_groups_are_refused(count, size):
    with pytest.raises(ValueError, match=f"{count} samples in groups of {size}"):
        advantages(torch.zeros(count), size)


def test_the_clipped_objective_stops_pushing_where_it_has_gone_far_enough():
    old = torch.zeros(4)
    new = torch.tensor([0.5, 0.5, -0.5, -0.5], requires_grad=True)               # more, more, less, less probable
    good = torch.tensor([1.0, -1, 1, -1])
    clipped(new, old, good, 0.2).sum().backward()
    # good and already more probable, bad and already less probable: no gradient; the other two are pulled back
    assert new.grad[0] == 0 and new.grad[3] == 0
    assert new.grad[1] == pytest.approx(math.exp(0.5)) and new.grad[2] == pytest.approx(-math.exp(-0.5))
    assert torch.allclose(clipped(old, old, good, 0.2), -good)


def test_the_divergence_is_that_of_the_distributions_on_average():
    torch.manual_seed(0)
    p, q = torch.randn(6).log_softmax(0), torch.randn(6).log_softmax(0)
    drawn = torch.multinomial(p.exp(), 200_000, replacement=True)
    each = divergence(p[drawn], q[drawn])
    assert (each >= 0).all() and not divergence(p, p).any()
    assert each.mean() == pytest.approx(float((p.exp() * (p - q)).sum()), rel=0.03)


def test_a_frozen_copy_follows_only_when_told():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    copy, x = frozen(module), torch.randn(2, 3)
    assert not list(copy.parameters()) and torch.equal(copy(x), module(x))
    assert copy.state_dict().keys() == module.state_dict().keys()
    with torch.no_grad():
        module[0].weight.add_(1)
    assert not torch.equal(copy(x), module(x))
    follow(copy, module)
    assert torch.equal(copy(x), module(x))


def test_a_bandit_learns_its_best_arm_and_the_penalty_holds_it_back():
    """Five arms, one of which is rewarded: the plain case of everything above."""
    def learned(penalty: float) -> float:
        generator = torch.Generator().manual_seed(0)
        logits = nn.Parameter(torch.zeros(5))
        start, optimiser = torch.zeros(5).log_softmax(0), torch.optim.SGD([logits], 0.5)
        for _ in range(60):
            old = logits.detach().log_softmax(0)
            drawn = torch.multinomial(old.exp(), 16, replacement=True, generator=generator)
            good = advantages((drawn == 3).float(), 16)
            for _ in range(2):
                new = logits.log_softmax(0)[drawn]
                loss = clipped(new, old[drawn], good, 0.2) + penalty * divergence(new, start[drawn])
                optimiser.zero_grad()
                loss.mean().backward()
                optimiser.step()
        return float(logits.detach().softmax(0)[3])

    assert learned(0.0) > 0.9
    assert 0.2 < learned(3.0) < learned(0.0)


# ---------------------------------------------------------------- the stage of the planner

HOW = Reinforcement(group=2, reuse=2, paint_steps=1)
RECIPE = Recipe(steps=4, batch=4, lr=1e-3, warmup=1, ema=0.5)


@pytest.fixture(scope="module")
def parts(config):
    torch.manual_seed(0)
    return dict(planner=Planner(config.planner), vae=VAE(config.vae), glyph=GlyphEncoder(config.glyph),
                decoder=Decoder(config.decoder))


@pytest.fixture
def stage(config, bpe, parts, monkeypatch):
    """The stage with rewards that need no reader: how red a picture is, and how dark."""
    def scored(picture, asked):
        red, green, blue = np.asarray(picture, dtype=np.float32).mean((0, 1)) / 255
        return dict.fromkeys(rewards.REWARDS) | dict(text=float(red), place=float(1 - (red + green + blue) / 3))

    monkeypatch.setattr(rewards, "scored", scored)

    def make(recipe=RECIPE, how=HOW):
        torch.manual_seed(1)
        return grpo_planner_stage(config, CPU, recipe, bpe, deepcopy(parts), how, workers=0)

    return make


def test_samples_are_as_probable_as_when_they_were_drawn(stage):
    """Before the first update the ratio is 1 and the divergence 0, whatever the padding of the prompts."""
    made = stage()
    batch = made.batch(0)
    with CPU.autocast():
        loss, stats = made.loss(batch)
    assert stats["divergence"] < 1e-5 and stats["clipped"] == 0
    assert float(loss.detach()) == pytest.approx(-float(batch["advantage"].mean()), abs=1e-6)
    assert batch["old"].shape == (4, batch["preview"][0].numel() + batch["large"][0].numel())


def test_ratios_are_taken_in_full_precision(stage):
    """Those of a small step, which bfloat16 would round away."""
    made = stage()
    batch = made.batch(0)
    with torch.no_grad():
        for parameter in made.model.planner.parameters():
            parameter += 1e-3 * torch.randn_like(parameter)
    loss, stats = made.loss(batch)
    with CPU.autocast():
        again, others = made.loss(batch)
    assert 0 < stats["divergence"] == others["divergence"] and float(again) == float(loss)


def test_log_probabilities_are_those_of_sampling(stage, config, bpe):
    """Ids drawn at temperature 0.7 from a handful of codes come as often as they should."""
    made = stage()
    data = made.batch(0)
    logits, target = made.model.planner.predict(data["prompts"], data["preview"], data["large"])
    wanted = (logits[:, :-1, :config.planner.codebook] / 0.7).softmax(-1)
    found = log_probabilities(made.model.planner, data, 0.7).exp()
    assert torch.allclose(found, wanted.gather(-1, target[:, :-1, None])[..., 0], atol=1e-6)
    assert torch.allclose(wanted.sum(-1), torch.ones_like(wanted[..., 0]), atol=1e-5)


def test_plans_are_sampled_as_people_sample_them(stage, monkeypatch):
    """Guided away from the prompt that tells nothing, unless that is switched off."""
    seen, ordinary = [], stage_grpo_planner.sample_ids

    def sample(planner, prompts, *some, **more):
        seen.append((prompts, some[2:], more))
        return ordinary(planner, prompts, *some, **more)

    monkeypatch.setattr(stage_grpo_planner, "sample_ids", sample)
    batch = stage().batch(0)
    stage(how=replace(HOW, planner_guidance=1)).batch(0)
    (prompts, settings, more), (alone, *_) = seen
    usual = signature(Pipeline.__call__).parameters
    assert settings == (usual["temperature"].default, usual["top_p"].default) and more == dict(guidance=GUIDED)
    assert prompts[:4] == alone == batch["prompts"] and len(prompts) == 8
    assert all(len(bare) < len(told) for bare, told in zip(prompts[4:], prompts))


def test_the_log_probabilities_are_those_of_the_draw(stage, monkeypatch):
    """With guidance, temperature and top-p, as the sampler computed them one id at a time."""
    drawn_from, ordinary = [], torch.multinomial
    monkeypatch.setattr(torch, "multinomial", lambda p, n, generator: drawn_from.append(p) or ordinary(p, n, generator=generator))
    batch = stage(how=replace(HOW, temperature=0.5, top_p=0.6, planner_guidance=2.0)).batch(0)
    drawn = torch.cat([batch["preview"].flatten(1), batch["large"].flatten(1)], 1)                # (B, T)
    each = torch.stack(drawn_from).view(drawn.shape[1], len(drawn), -1).transpose(0, 1)           # (B, T, V)
    assert (each == 0).any() and torch.allclose(batch["old"], each.gather(-1, drawn[..., None])[..., 0].log(), atol=2e-3)
    assert torch.isfinite(batch["reference"]).all()


def test_most_prompts_of_the_stage_tell_everything():
    posters = [p for step in range(20) for p in stage_grpo_planner.prompts_of("grpo-planner", step, 8)]
    assert 0.55 < sum(p.caption == explicit(p) for p in posters) / len(posters) < 0.85


def test_samples_of_a_group_differ_and_share_their_prompt(stage):
    batch = stage().batch(0)
    assert batch["prompts"][0] == batch["prompts"][1] != batch["prompts"][2] == batch["prompts"][3]
    assert not torch.equal(batch["large"][0], batch["large"][1])
    assert batch["advantage"].view(2, 2).sum(1).abs().max() < 1e-3


def test_samples_are_used_twice_then_drawn_anew_by_the_planner_as_it_is(stage):
    made, seen = stage(), []
    for step in train(made, CPU):
        seen.append(made.batch(step.number - 1))
    assert seen[0] is seen[1] and seen[2] is seen[3] and not torch.equal(seen[0]["old"], seen[2]["old"])
    reference = made.model.reference.state_dict()
    assert all(torch.equal(reference[name], value) for name, value in stage().model.planner.state_dict().items())


@pytest.mark.parametrize("stop", (1, 2, 3))
def test_a_run_stopped_between_samples_resumes_exactly(stage, tmp_path, stop):
    wanted, found = losses(stage()), []
    for end in (stop, None):
        found += losses(stage(), tmp_path, end, resume=True)
    assert found == wanted and len(found) == 4


def test_what_is_rewarded_comes_more_often(stage, monkeypatch):
    """The reward here is the share of even codes in a plan: the pictures of a new decoder do not depend on it."""
    plans = []

    def velocity(decoder, glyph, lines, plan, guidance):
        plans[:] = plan
        return lambda latents, time: torch.zeros_like(latents)

    monkeypatch.setattr(stage_grpo_planner.paint, "velocity", velocity)
    monkeypatch.setattr(stage_grpo_planner, "to_images", lambda pixels: [np.asarray(plan) for plan in plans])
    monkeypatch.setattr(rewards, "scored", lambda plan, asked: dict.fromkeys(rewards.REWARDS) | dict(
        place=float((plan % 2 == 0).mean())))
    how = replace(HOW, group=8, reuse=1, penalty=0.0, weights=dict(place=1.0))
    made = stage(Recipe(steps=16, batch=32, lr=5e-3, warmup=1, ema=0.0), how)
    rewarded = [float(step.stats["reward"]) for step in train(made, CPU)]
    assert sum(rewarded[-5:]) > sum(rewarded[:5]) + 0.25


@pytest.mark.parametrize("batch, message", [(5, "a batch of 5: a multiple of the group, 2")])
def test_batches_that_divide_a_group_are_refused(stage, batch, message):
    with pytest.raises(ValueError, match=message):
        stage(replace(RECIPE, batch=batch))
    with pytest.raises(ValueError, match="samples 1 to 3 of a step are no whole groups of 2"):
        stage().batch(0, slice(1, 3))


def test_rewards_are_weighted_means_of_what_was_asked_for():
    each = dict.fromkeys(rewards.REWARDS) | dict(text=0.5, object=1.0)
    assert rewards.total(each, dict(text=3.0, object=1.0, place=9.0)) == pytest.approx(0.625)
    assert rewards.total(dict.fromkeys(rewards.REWARDS), dict(text=1.0)) == 0
    with pytest.raises(ValueError, match="no reward beauty: choose from text, room"):
        rewards.total(each, dict(beauty=1.0))


SCORER = """
import os, signal
from minglm.measure.rewards import Scorers
pool = Scorers(1).pool
scorer = pool.submit(os.getpid).result()
os.kill(scorer, signal.SIGINT)
print(pool.submit(os.getpid).result() == scorer, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_scorers_outlive_ctrl_c_but_not_their_caller():
    """A scorer that stayed would hold the pipe open, and the wait would time out."""
    ran = subprocess.run([sys.executable, "-c", SCORER], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert ran.stdout == "True\n" and "Traceback" not in ran.stderr, ran.stderr


# ---------------------------------------------------------------- the stage of the decoder

@pytest.fixture
def painting(config, parts, monkeypatch):
    """The decoder's stage with a reward that needs no reader: how dark a picture is."""
    def scored(picture, asked):
        return dict.fromkeys(rewards.REWARDS) | dict(text=1 - float(np.asarray(picture, dtype=np.float32).mean()) / 255)

    monkeypatch.setattr(rewards, "scored", scored)

    def make(recipe=RECIPE, how=stage_grpo_decoder.Reinforcement(group=2, steps=4, likeness=0.0)):
        torch.manual_seed(1)
        decoder = deepcopy(parts) | dict(tokenizer=Tokenizer(config.tokenizer))
        for p in decoder["decoder"].parameters():                                # or it paints the same everywhere
            p.data.add_(0.05 * torch.randn_like(p))
        return stage_grpo_decoder.grpo_decoder_stage(config, CPU, recipe, decoder, how, workers=0)

    return make


def test_stochastic_steps_are_as_probable_as_when_they_were_taken(painting):
    made = painting()
    batch = made.batch(0)
    with CPU.autocast():
        loss, stats = made.loss(batch)
    assert stats["divergence"] < 1e-5 and stats["clipped"] == 0 and len(batch["steps"]) == 2
    assert not torch.equal(batch["steps"][0]["after"][0], batch["steps"][0]["after"][1])
    assert torch.equal(batch["steps"][0]["before"][0], batch["steps"][0]["before"][1])   # the first noise is shared


def test_the_window_wanders_and_leaves_the_last_step_out(painting):
    made = painting(replace(RECIPE, steps=20))
    first = [made.batch(step)["steps"][0]["sigma"] for step in (0, 2, 4)]
    assert first[0] == 1 > first[1] and first[2] == first[0]
    assert all(s["following"] > 0 for step in (0, 2) for s in made.batch(step)["steps"])


@pytest.mark.parametrize("stop", (1, 2, 3))
def test_a_run_of_the_decoder_resumes_exactly(painting, tmp_path, stop):
    wanted, found = losses(painting()), []
    for end in (stop, None):
        found += losses(painting(), tmp_path, end, resume=True)
    assert found == wanted and len(found) == 4


def test_pictures_move_towards_what_is_rewarded(painting):
    how = stage_grpo_decoder.Reinforcement(group=8, reuse=1, steps=4, likeness=0.0, penalty=0.0)
    made = painting(Recipe(steps=24, batch=16, lr=3e-3, warmup=1, ema=0.0), how)
    rewarded = [float(step.stats["reward"]) for step in train(made, CPU)]
    assert sum(rewarded[-6:]) > sum(rewarded[:6])


def test_likeness_is_1_for_the_drawing_itself(config):
    torch.manual_seed(0)
    tokenizer = Tokenizer(config.tokenizer)
    posters = [draw(3, i) for i in range(4)]
    alike = stage_grpo_decoder.likeness(tokenizer, [p.image for p in posters], pixels(posters))
    other = stage_grpo_decoder.likeness(tokenizer, [p.image for p in posters[::-1]], pixels(posters))
    assert torch.allclose(alike, torch.ones(4), atol=1e-4) and (other < alike - 1e-3).all()


# ---------------------------------------------------------------- both, on several cards

@pytest.mark.filterwarnings("ignore:.*returned a view tensor")
@pytest.mark.parametrize("sharded", [False, True], ids=["ddp", "fsdp"])
@pytest.mark.parametrize("make", ["stage", "painting"])
def test_stages_are_spread_over_ranks(make, sharded, request, tmp_path):
    """Frozen copies work outside the wrapped pass, and every parameter that learns gets a gradient: what DDP and FSDP
    refuse, they refuse to a group of one process, too."""
    make = request.getfixturevalue(make)
    wanted = losses(make())
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        found = losses(make(), sharded=sharded)
    finally:
        gc.collect()                                                             # of the model that is still wrapped
        dist.destroy_process_group()
    assert found == pytest.approx(wanted, abs=1e-4)
