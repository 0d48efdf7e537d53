"""Scores of edits: SSIM is Wang's, the target passes, the source fails, and each mistake fails its own check."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from minglm.measure.edit_scores import (
    check_style,
    format_edits,
    is_bare,
    kept,
    nearly,
    score_edit,
    summarise_edits,
)
from minglm.measure.ssim import C1, C2, RADIUS, SIGMA, luma, ssim_map
from minglm.world.edit_prompts import load_edits
from minglm.world.edits import KINDS, edit
from minglm.world.looks import PLAIN, VISIBLE, Look, difference
from minglm.world.posters import Group, Region
from minglm.world.scenes import Edit, Scene

Y, X = np.mgrid[:40, :48]
ONE = 127 + 100 * np.sin(X / 5) * np.cos(Y / 7)
TWO = 0.8 * ONE + 20 + 15 * np.sin(X * Y / 11)


# ---------------------------------------------------------------- SSIM

def test_ssim_is_the_published_formula():
    """At one pixel, by the sums of the paper's section III.B, without tricks."""
    y, x = 17, 22
    offsets = np.arange(-RADIUS, RADIUS + 1)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * SIGMA ** 2))
    window /= window.sum()
    a, b = (one[y - RADIUS:y + RADIUS + 1, x - RADIUS:x + RADIUS + 1] for one in (ONE, TWO))
    ma, mb = (window * a).sum(), (window * b).sum()
    va, vb, cov = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum(), (window * (a - ma) * (b - mb)).sum()
    value = (2 * ma * mb + C1) * (2 * cov + C2) / ((ma ** 2 + mb ** 2 + C1) * (va + vb + C2))
    assert ssim_map(ONE, TWO)[y, x] == pytest.approx(value, abs=1e-9) and value < 0.95
    assert len(window) == 11 and SIGMA == 1.5 and (C1, C2) == pytest.approx((6.5025, 58.5225))


def test_ssim_is_that_of_scikit_image():
    """Its structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)."""
    assert ssim_map(ONE, TWO)[5:-5, 5:-5].mean() == pytest.approx(0.779292958376684, abs=1e-9)
    metrics = pytest.importorskip("skimage.metrics")
    _, full = metrics.structural_similarity(ONE, TWO, data_range=255, gaussian_weights=True, sigma=1.5,
                                            use_sample_covariance=False, full=True)
    assert np.abs(full - ssim_map(ONE, TWO)).max() < 1e-9


def test_ssim_is_one_for_the_same_less_for_others_and_symmetrical():
    assert ssim_map(ONE, ONE) == pytest.approx(1) and (ssim_map(ONE, TWO) == ssim_map(TWO, ONE)).all()
    noise = np.random.default_rng(0).normal(0, 1, ONE.shape)
    means = [ssim_map(ONE, ONE + sigma * noise).mean() for sigma in (1, 5, 20)]
    assert 1 > means[0] > means[1] > means[2] and ssim_map(ONE, 255 - ONE).mean() < 0
    assert luma(Image.new("RGB", (3, 2), (255, 255, 255))) == pytest.approx(255) and luma(np.zeros((2, 3, 3))).shape == (2, 3)


# ---------------------------------------------------------------- the rest

def marked(image: Image.Image, where: np.ndarray) -> Image.Image:
    """The picture with a square of 2 pixels spoiled, at the first place where there is room for it."""
    values = np.array(image)
    y, x = next((y, x) for y in range(len(where) - 2) for x in range(where.shape[1] - 2) if where[y:y + 2, x:x + 2].all())
    values[y:y + 2, x:x + 2] ^= 255
    return Image.fromarray(values)


@pytest.mark.parametrize("kind", ["background", "recolour text", "swap object", "remove text"])
def test_what_is_outside_the_region_counts_and_what_is_inside_does_not(kind):
    one = edit(1, 0, kind=kind)
    assert kept(one.target.image, one) == kept(one.sources[0].image, one) == pytest.approx(dict(ssim=1, distance=0))
    inside, outside = [kept(marked(one.target.image, where), one) for where in (one.region, ~one.region)]
    assert inside == pytest.approx(dict(ssim=1, distance=0))
    assert outside["ssim"] < 0.9999 and outside["distance"] > 1e-5


def test_where_all_is_new_the_whole_is_compared():
    one = edit(1, 1, kind="restyle")
    assert kept(one.target.image, one) == pytest.approx(dict(ssim=1, distance=0)) and kept(one.sources[0].image, one)["distance"] > 0


# ---------------------------------------------------------------- what was asked for

@pytest.fixture(scope="module")
def judge():
    pytest.importorskip("rapidocr")
    from minglm.measure.ocr import Judge

    return Judge(1)


@pytest.fixture(scope="module")
def some() -> list[Edit]:
    """Two of each kind, one in each language."""
    found, every = [], load_edits()
    for kind in KINDS:
        found += [next(one for one in every if (one.kind, one.language) == (kind, way)) for way in ("en", "zh")]
    return found


def test_the_target_passes_and_the_source_does_not(judge, some):
    wrong = []
    for i, one in enumerate(some):
        gold = score_edit(judge, one.target.image, one)
        wrong += [] if gold["made"] else [(one.kind, gold["checks"])]
        assert gold["ssim"] == pytest.approx(1) and gold["distance"] == 0
        if i // 2 % 2 == i % 2:              # one of a kind, in alternate languages: reading takes long
            continue
        source = score_edit(judge, one.sources[0].image, one)
        assert not source["made"], (one.kind, one.instruction)
        if one.sources[0].image.size == one.target.image.size:
            # the checks are about something: a source fails one by name, and keeps the rest
            assert not all(source["checks"].values())
            assert one.kind in ("restyle", "identity", "combine") or source["ssim"] == pytest.approx(1)
    assert len(wrong) <= 1, wrong            # the reader may take one letter for another


CAT = Scene("blue", (Group("cat"),), "left", (Region("top", "WELCOME", "white"),), 128, 128)
LOOK = Look(hue=120, flip=True, mark="stripes", ink="white")


def changed(**what) -> Scene:
    return replace(CAT, **what)


@pytest.mark.parametrize("target, picture, check", [
    # asked for a text: another text, another colour, another place, the old one still there
    (changed(regions=(Region("top", "GOODBYE", "white"),)), changed(regions=(Region("top", "GOLDFISH", "white"),)), "text"),
    (changed(regions=(Region("top", "WELCOME", "yellow"),)), changed(regions=(Region("top", "WELCOME", "pink"),)), "text_colour"),
    (changed(regions=(Region("bottom", "WELCOME", "white"),)), changed(regions=(Region("bottom", "WELCOME\n.", "white"),)), "text_place"),
    (changed(regions=()), changed(regions=(Region("top", "WELCOME", "white"),)), "text_gone"),
    (changed(regions=()), changed(regions=(Region("top", "XQJZ", "white"),)), "bare"),
    # asked for an object: another, too many, elsewhere, still there, in its usual look
    (changed(groups=(Group("dog"),)), changed(groups=(Group("apple"),)), "object"),
    (changed(groups=(Group("cat", 2),)), CAT, "count"),
    (changed(place="right"), changed(place="centre"), "place"),
    (changed(groups=(), place="centre"), CAT, "object"),
    (changed(background="red", looks=(("cat", LOOK),), place="right"), changed(background="red", place="right"), "object"),
    (changed(background="red", looks=(("cat", LOOK),), place="right"), changed(background="red", place="right", looks=(("cat", replace(LOOK, flip=False)),)), "object"),
    # asked for a background
    (changed(background="red"), changed(background="orange"), "background"),
])
def test_each_mistake_fails_its_own_check(judge, target, picture, check):
    source = replace(CAT, looks=target.looks)
    one = Edit("", "en", (source,), target)
    assert score_edit(judge, target.image, one)["made"]
    scores = score_edit(judge, picture.image, one)
    assert not scores["checks"][check] and not scores["made"], scores


def test_the_same_object_elsewhere_has_to_be_there(judge):
    """Also if it stands where it stood, so that source and target have it in common."""
    source = changed(looks=(("cat", LOOK),), regions=())
    one = Edit("identity", "en", (source,), replace(source, background="red"))
    assert score_edit(judge, one.target.image, one)["made"]
    for groups in ((), (Group("dog"),)):
        checks = score_edit(judge, replace(one.target, groups=groups).image, one)["checks"]
        assert checks["background"] and not checks["object"] and not checks["place"]
    usual = score_edit(judge, replace(one.target, looks=()).image, one)["checks"]
    assert usual["background"] and not usual["object"]


def test_a_text_that_is_not_there_has_no_colour(judge):
    alone = changed(groups=(), place="centre")           # in a cat the judge sees an "e"
    one = Edit("", "en", (alone,), replace(alone, regions=(Region("top", "GOODBYE", "white"),)))
    checks = score_edit(judge, Image.new("RGB", (128, 128)), one)["checks"]
    assert [checks[name] for name in ("text", "text_colour", "text_place")] == [False] * 3


def test_slight_noise_undoes_nothing(judge):
    target = changed(background="red", regions=(Region("bottom", "GOODBYE", "white"),), place="right")
    noise = np.random.default_rng(0).normal(0, 5, (128, 128, 3))
    picture = Image.fromarray((np.asarray(target.image) + noise).clip(0, 255).astype(np.uint8))
    scores = score_edit(judge, picture, Edit("", "en", (CAT,), target))
    assert scores["made"], scores


def test_another_style_is_not_the_style():
    plain = changed(groups=(Group("cat", 2),), width=192)
    for style in ("outline", "pixel art", "inverted"):
        target = replace(plain, style=style)
        one = Edit("restyle", "en", (plain,), target)
        for other in ("", "outline", "pixel art", "inverted"):
            assert check_style(replace(plain, style=other).image, one) == dict(style=other == style)


def test_looks_that_are_nearly_alike_are_seen_to_differ():
    others = nearly("cat", LOOK)
    assert len(others) >= 2 and PLAIN not in others and LOOK not in others
    assert all(difference("cat", LOOK, other) > VISIBLE for other in others)


def test_remains_are_seen():
    target = changed(groups=(), place="centre")
    one = Edit("remove object", "en", (CAT,), target)
    assert is_bare(target.image, one) and not is_bare(CAT.image, one)


def test_a_picture_of_another_size_has_nothing_right(judge):
    one = Edit("background", "en", (CAT,), changed(background="red"))
    assert score_edit(judge, Image.new("RGB", (96, 128)), one) == dict(checks=dict(size=False), made=False, ssim=0.0, distance=1.0)


def test_reports_are_means_in_order():
    one, two = edit(1, 0, kind="background", language="en"), edit(1, 0, kind="combine", language="zh")
    report = summarise_edits([(two, dict(made=True, ssim=0.9, distance=0.1)), (one, dict(made=False, ssim=1.0, distance=0.0))])
    assert list(report) == ["all", "en", "zh", "background", "combine"]
    assert report["all"] == dict(edits=2, made=0.5, ssim=0.95, distance=0.05) and report["combine"]["made"] == 1
    assert "0.950" in format_edits(report).splitlines()[1]
