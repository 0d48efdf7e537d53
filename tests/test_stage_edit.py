"""Editing, trained and painted: sources reach the right samples, and nothing else."""

import shutil
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from minglm.config import preset
from minglm.device import Device, pick
from minglm.generate.pipeline import Pipeline
from minglm.generate.request import STRANGE
from minglm.generate.sources import is_poster
from minglm.images import to_tensor
from minglm.measure import evaluate_edits
from minglm.model import lora
from minglm.model.copying import Copying
from minglm.model.editing import Editing
from minglm.model.memory import dealt
from minglm.training.batches import GUESSED
from minglm.training.recipe import RECIPES
from minglm.training.references import references
from minglm.training.stage_edit import GOALS, edits
from minglm.training.stages import build, finish
from minglm.world.draw import draw
from minglm.world.edit_prompts import load_edits
from minglm.world.edits import KINDS, edit
from minglm.world.quotes import quoted
from minglm.world.translations import told

CPU = pick("cpu")


@pytest.fixture(scope="module")
def single():
    """Single precision, in which sums may be compared."""
    from contextlib import nullcontext

    before = Device.autocast
    Device.autocast = lambda self, dtype=None: nullcontext()
    yield
    Device.autocast = before


@pytest.fixture
def pipe(pipe, monkeypatch):
    monkeypatch.setattr(pipe, "config", replace(pipe.config, edits=True))
    return pipe


def stage(name, folder, batch=6):
    return build(name, preset("tiny"), CPU, replace(RECIPES["tiny"][name], batch=batch), folder)


def several():
    """Edits of two and more pictures, of several sizes."""
    found = [edit(3, i, 128, 128, kind="combine") for i in range(12)]
    assert {len(one.sources) for one in found} >= {2} and len({(s.height, s.width) for e in found for s in e.sources}) > 1
    return found


# ---------------------------------------------------------------- references

def test_every_sample_gets_its_own_pictures_in_order():
    batch = several()
    some = references([*(one.sources for one in batch), ()], 32)
    # the mean colour of every cell, numbered through, is dealt as tokens are
    flat = torch.cat([torch.nn.functional.avg_pool2d(each, 32).movedim(1, -1).flatten(0, 2) for each in some.images])
    given = flat[some.where]
    for row, mask, one in zip(given, some.mask, batch):
        wanted = [torch.nn.functional.avg_pool2d(to_tensor([s.image]), 32).movedim(1, -1).flatten(0, 2) for s in one.sources]
        assert mask.sum() == sum(map(len, wanted)) and torch.allclose(row[mask], torch.cat(wanted), atol=1e-6)
    assert not some.mask[-1].any()
    assert references([(), ()], 32) is None


def test_dealt_keys_are_those_of_each_picture_alone(pipe):
    """In a batch with padding each sample sees what it would see by itself."""
    batch, config = several()[:4], pipe.config
    some = references([one.sources for one in batch], config.decoder.patch * config.vae.scale)
    read = [(pipe.vae.encode(each), pipe.tokenizer.encode(each)) for each in some.images]
    with torch.no_grad():
        memory = dealt([pipe.decoder.remember(*pair) for pair in read], some.where)
        g = torch.Generator().manual_seed(0)
        latents, time = torch.randn(4, config.vae.channels, 16, 16, generator=g), torch.full((4,), 500.0)
        ids, glyphs = torch.randint(config.decoder.codebook, (4, 4, 4), generator=g), torch.zeros(4, 0, config.glyph.width)
        together = pipe.decoder(latents, time, ids, glyphs, memory=[memory], memory_mask=some.mask)
        for i, one in enumerate(batch):
            alone = [pipe.decoder.remember(pipe.vae.encode(x), pipe.tokenizer.encode(x))
                     for x in (to_tensor([s.image]) for s in one.sources)]
            wanted = pipe.decoder(latents[i:i + 1], time[:1], ids[i:i + 1], glyphs[i:i + 1], memory=alone)
            assert (together[i:i + 1] - wanted).abs().max() < 1e-4
        blind = pipe.decoder(latents, time, ids, glyphs, memory=[memory], memory_mask=torch.zeros_like(some.mask))
        assert (blind - pipe.decoder(latents, time, ids, glyphs)).abs().max() < 1e-4


def test_the_ids_of_sources_are_filled_into_the_prompts(pipe, folder, single):
    made = stage("edit-planner", folder).batch(1)
    ids, places = made.pop("sources")
    planner = pipe.planner
    with torch.no_grad():
        found, _ = planner.loss(**made, sources=(ids, places))
        prompts = [list(prompt) for prompt in made["prompts"]]
        for prompt, row, where in zip(prompts, ids.tolist(), places):
            for at, one in zip(where, row):
                prompt[at] = one
        wanted, _ = planner.loss(**made | dict(prompts=prompts))
        without, _ = planner.loss(**made)
    assert abs(found - wanted) < 1e-5 < abs(found - without)


# ---------------------------------------------------------------- the stages

def test_a_batch_of_edits_is_of_one_size_and_of_one_or_several_pictures():
    kinds = set()
    for step in range(40):
        batch = edits("edit-planner", step, 4)
        assert len({(one.height, one.width) for one in batch}) == 1
        assert len({one.kind == "combine" for one in batch}) == 1
        kinds |= {one.kind for one in batch}
    assert kinds == set(KINDS)


def test_most_instructions_are_told_as_goals(folder, monkeypatch):
    """The same ones for every rank."""
    made = stage("edit-planner", folder, batch=16)
    asked = [made.batch(step) for step in range(6)]
    monkeypatch.setattr("minglm.training.stage_edit.goal", lambda one: "goal")
    short = [made.batch(step) for step in range(6)]
    changed = [a != b for one, other in zip(asked, short) for a, b in zip(one["prompts"], other["prompts"])]
    assert GOALS - 0.25 < sum(changed) / len(changed) < GOALS        # some are left empty
    assert made.batch(2, slice(4, 8))["prompts"] == short[2]["prompts"][4:8]


def test_plans_of_edits_are_guessed_where_something_may_change(folder, monkeypatch):
    made, guessed, free = stage("edit-decoder", folder, batch=10), 0, 0
    steps = [step for step in range(12) if edits("edit-decoder", step, 10)[0].kind != "combine"]
    plans = [made.batch(step)["prior"] for step in steps]
    monkeypatch.setattr("minglm.training.stage_decoder.GUESSED", 0.0)
    for step, plan in zip(steps, plans):
        true = made.batch(step)["prior"]
        for one, differs in zip(edits("edit-decoder", step, 10), (plan != true).cpu()):
            may = torch.from_numpy(one.cells)
            assert not (differs & ~may).any() and not (one.target.style and differs.any())
            guessed, free = guessed + int(differs.sum()), free + int(may.sum())
    assert 0.05 < guessed / free < GUESSED


def test_the_unconditional_branch_of_the_decoder_has_no_sources(folder):
    made, seen = stage("edit-decoder", folder, batch=30), []
    for step in range(6):
        b = made.batch(step)
        words = b["tokens"].sum(1) > 1                                           # more than the end of an empty string
        seen += zip((words | b["keep"]).tolist(), b["memory_mask"].any(1).tolist())
    assert all(sources for told, sources in seen if told)
    assert {sources for told, sources in seen if not told} == {False, True}      # an edit may quote nothing


@pytest.mark.parametrize("name, part", [("edit-planner", "planner"), ("edit-decoder", "decoder")])
def test_only_adapters_are_trained(name, part, folder):
    made = stage(name, folder)
    trained = {key for key, p in made.model.named_parameters() if p.requires_grad}
    pointer = {"copying.hint.weight", "copying.vote.weight", "copying.vote.bias"}
    assert {key for key in trained if "lora_" not in key} == (pointer if part == "planner" else set())
    loss, _ = made.loss(made.batch(0))
    loss.backward()
    assert all(p.grad is not None for p in made.model.parameters() if p.requires_grad)


def test_edits_are_saved_loaded_and_leave_posters_alone(pipe, folder, tmp_path):
    """What the stages finish is on while a picture is edited, and only then."""
    there = tmp_path / "weights"
    shutil.copytree(folder, there)
    poster, asked = draw(1, 2, 128, 128).image, "make the background blue"
    for name in ("edit-planner", "edit-decoder"):
        with pytest.raises(ValueError, match="not trained to edit"):
            painted(Pipeline.from_pretrained(there, "cpu"), asked, poster)
        made = stage(name, there)
        torch.manual_seed(1)
        for p in made.model.parameters():
            p.data += 0.05 * torch.randn_like(p) * p.requires_grad
        finish(made, preset("tiny"), there)
    loaded = Pipeline.from_pretrained(there, "cpu")
    weights = {part: {k: v.clone() for k, v in getattr(loaded, part).state_dict().items()} for part in ("planner", "decoder")}
    plain = 'A red poster with the words "Hi"'
    drawn = [each(plain, steps=2, progress=False).images[0].tobytes() for each in (pipe, loaded)]
    assert drawn[0] == drawn[1]
    edited = painted(loaded, asked, poster)
    with pytest.raises(ValueError):
        painted(loaded, asked, [poster] * 5)                                     # it is off again after an error
    for part, before in weights.items():
        after = getattr(loaded, part).state_dict()
        assert after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in before)
    # what was trained is what edits: the stage's own modules, in half precision, paint the same
    trained = made.model.decoder.half().float()
    loaded.editing.adapters.pop("decoder")
    first, loaded.decoder = loaded.decoder, trained
    assert same(painted(loaded, asked, poster, prior_ids=edited.plan).images[0], edited.images[0])
    loaded.decoder = first
    assert not same(painted(loaded, asked, poster, prior_ids=edited.plan).images[0], edited.images[0])
    again = tmp_path / "again"
    Pipeline.from_pretrained(there, "cpu").save_pretrained(again)
    assert same(painted(Pipeline.from_pretrained(again, "cpu"), asked, poster).images[0], edited.images[0])


@pytest.mark.parametrize("file, harm, said", [
    ("copying.safetensors", lambda path: path.unlink(), "incomplete weights: .*copying.safetensors is missing"),
    ("copying.safetensors", lambda path: path.write_bytes(b"no"), "cannot read .*copying.safetensors"),
    ("adapter_model.safetensors", lambda path: save_file(load_file(path) | {"x": torch.ones(1)}, path), "unexpected x"),
])
def test_damaged_adapters_are_named(pipe, tmp_path, file, harm, said):
    models = {part: deepcopy(getattr(pipe, part)) for part in ("planner", "decoder")}
    adapters = {part: lora.create(model, 2) for part, model in models.items()}
    Editing(**models, adapters=adapters, copying=Copying(pipe.config.planner.width)).save(tmp_path, "tiny")
    harm(tmp_path / "edits" / "planner" / file)
    with pytest.raises(ValueError, match=said):
        Editing(pipe.planner, pipe.decoder, folder=tmp_path).load()


def test_other_adapters_stay_on_while_pictures_are_edited(pipe):
    planner, decoder = deepcopy(pipe.planner), deepcopy(pipe.decoder)
    own = lora.create(planner, 2)
    layer = next(iter(own.values()))
    nn.init.normal_(layer.lora_B.weight)
    x = torch.randn(3, layer.base.in_features)
    delta = lora.LoRALinear(layer.base, 2, 4.0)
    nn.init.normal_(delta.lora_B.weight)
    before = layer(x)
    with Editing(planner, decoder, dict(planner=dict(some=delta))).on():
        assert torch.allclose(layer(x), before + delta.scale * x @ delta.lora_A.weight.T @ delta.lora_B.weight.T, atol=1e-4)
    assert torch.equal(layer(x), before)


def test_adapters_are_read_when_first_needed(pipe, tmp_path):
    """Whatever is on the models by then; drawing needs none, so it does not miss them."""
    planner, decoder = deepcopy(pipe.planner), deepcopy(pipe.decoder)
    lazy = Editing(planner, decoder, folder=tmp_path)
    with lazy.on(False):
        pass
    with pytest.raises(ValueError, match="adapter_config.json"), lazy.on():
        pass
    models = dict(planner=deepcopy(planner), decoder=deepcopy(decoder))
    trained = {part: lora.create(model, 2) for part, model in models.items()}
    for adapter in trained.values():
        for layer in adapter.values():
            nn.init.normal_(layer.lora_B.weight, std=0.1)
    Editing(**models, adapters=trained, copying=Copying(planner.config.width)).save(tmp_path, "tiny")
    lora.create(planner, 3)                                                      # somebody's own
    block = planner.blocks[0].q
    with torch.no_grad():
        x = torch.randn(2, block.base.in_features)
        before, layer = block(x), trained["planner"]["blocks.0.q"]
        with lazy.on():
            assert torch.allclose(block(x), before + layer(x) - layer.base(x), atol=1e-2)
            assert not torch.allclose(block(x), before, atol=1e-2) and planner.copying is not None
        assert torch.equal(block(x), before)


def test_switched_on_twice_is_switched_on(pipe):
    """As when somebody edits by hand and calls the pipeline in between."""
    planner, decoder = deepcopy(pipe.planner), deepcopy(pipe.decoder)
    linear = planner.blocks[0].q
    layer, before, pointer = lora.LoRALinear(linear, 2, 4.0), linear.weight.clone(), Copying(planner.config.width)
    nn.init.normal_(layer.lora_B.weight)
    editing = Editing(planner, decoder, dict(planner=dict(some=layer)), pointer)
    with editing.on():
        once = linear.weight.clone()
        assert not torch.equal(once, before)
        with editing.on():
            assert torch.equal(linear.weight, once)
        with editing.on(False):                                                  # a poster is drawn in between
            assert torch.equal(linear.weight, before) and planner.copying is None
        assert torch.equal(linear.weight, once) and planner.copying is pointer
    assert torch.equal(linear.weight, before) and planner.copying is None


def test_letters_are_aligned_where_the_target_has_them():
    found = 0
    for kind in ("replace text", "recolour text", "remove text"):
        for i in range(8):
            one = edit(4, i, 128, 128, kind=kind)
            assert [line for _, line, _ in one.lines] == one.strings
            assert all(line in one.target.lines for line in one.lines)
            assert not (kind == "remove text" and set(told(one.instruction)) & {r.text for r, _, _ in one.lines})
            found += len(one.lines)
    assert found


# ---------------------------------------------------------------- painting

def painted(pipe, prompt, image, **how):
    return pipe(prompt, image=image, steps=2, progress=False, **how)


def test_a_poster_is_edited_at_its_own_size(pipe):
    poster = draw(1, 2, 128, 192)
    out = painted(pipe, "make the background blue", poster.image)
    assert out.images[0].size == (192, 128) and out.preview[0].numel() == 0
    assert out.notes == [f"understood: {out.prompts[0]}"] and "blue poster" in out.prompts[0]
    other = painted(pipe, "make the background blue", draw(1, 3, 128, 192).image)
    assert out.images[0].tobytes() != other.images[0].tobytes()
    assert painted(pipe, "make it big", poster.image, height=256, width=256).images[0].size == (256, 256)


def test_pictures_of_several_sizes_are_joined(pipe):
    images = [draw(1, 2, 128, 192).image, draw(1, 3, 96, 96).image]
    both = painted(pipe, "the first with the text of the second", images)
    assert both.images[0].size == (192, 128)
    again = painted(pipe, ["the first with the text of the second"] * 2, [images, images], seed=[0, 1])
    assert again.plan[0].equal(both.plan[0])


def test_a_photograph_is_taken_with_a_word_about_it(pipe):
    noise = Image.effect_noise((300, 200), 90).convert("RGB")
    out = painted(pipe, "make it blue", noise)
    assert out.notes == [STRANGE] and out.images[0].size == (256, 160)
    clear = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    assert painted(pipe, "make it blue", clear).images[0].size == (96, 96)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_posters_are_known_as_such(language):
    for i in range(60):
        one = draw(9, i, language=language)
        assert is_poster(one.image), one
    assert not is_poster(Image.linear_gradient("L").convert("RGB"))


@pytest.mark.parametrize("how, said", [
    (dict(image=[Image.new("RGB", (96, 96))] * 5), "5 pictures to edit: at most 4"),
    (dict(image=Image.new("RGB", (20, 400))), "at most four times as long as wide"),
    (dict(image="nowhere.png"), "no image file 'nowhere.png'"),
])
def test_what_cannot_be_edited_is_said(pipe, how, said):
    with pytest.raises(ValueError, match=said):
        painted(pipe, "make it blue", **how)


def test_letters_that_cannot_be_written_are_refused(pipe):
    assert quoted('add "नमस्ते"') == ["नमस्ते"]
    with pytest.raises(ValueError, match="cannot write"):
        painted(pipe, 'add "नमस्ते"', draw(1, 2).image)


def test_edits_are_evaluated_column_by_column(pipe):
    """Of the gold drawing everything is right; each edit is painted as it would be by itself."""
    some = [edit for edit in load_edits() if (edit.height, edit.width) == (128, 128)][::40]
    found = list(evaluate_edits.evaluate(pipe, some, steps=1))
    assert [number for number, *_ in found] == list(range(len(some))) and len(some) > 3
    for number, one, pictures, scores in found:
        assert list(pictures) == ["source", "gold", "vae", "decoder", "pipeline"]
        assert scores["gold"]["ssim"] == pytest.approx(1) and not scores["pipeline"]["made"]
        images = [scene.image for scene in one.sources]
        alone = pipe(one.instruction, 128, 128, image=images, seed=number, steps=1, progress=False).images[0]
        assert same(alone, pictures["pipeline"])
    report = evaluate_edits.report([(one, scores) for _, one, _, scores in found])
    assert report["gold"]["all"]["edits"] == len(some) and report["gold"]["all"]["made"] > 0.8
    assert f"{report['vae']['all']['ssim']:.3f}" in evaluate_edits.format_report(report)


def same(a, b):
    """Whether two pictures are, up to rounding."""
    return np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 2
