"""The pages in docs/: links resolve, commands exist, both languages say the same, and nothing is claimed of a card."""

import re
from pathlib import Path

import pytest

from minglm.arguments import command_line

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / "ascend.md", ROOT / "docs" / "ascend.zh-CN.md"]


def anchors(page: Path) -> set[str]:
    """What a heading can be reached by: lower case, spaces as dashes, punctuation gone."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(page: Path) -> list[str]:
    """Lines of the code blocks, comments and the word for the image taken off."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    return [re.sub(r"\s+#.*|镜像|IMAGE", "", line).strip() for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page):
    links = re.findall(r"\]\(([^)]*)\)", page.read_text(encoding="utf-8"))
    inside = [link for link in links if "://" not in link]
    assert len(inside) >= 8 and len(links) - len(inside) >= 8
    for link in inside:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file() and target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_minglm_are_understood(page):
    text = page.read_text(encoding="utf-8")
    found = [line.partition("minglm ")[2].split(" && ")[0] for line in commands(page) if re.search(r"(^|-m |&& )minglm ", line)]
    found += re.findall(r"`minglm (\S[^`]*)`", text)
    assert len(found) >= 5
    for line in found:
        command_line().parse_args(line.split())              # raises ValueError for an option that is not there
    for script in re.findall(r"scripts/\w+\.py", text):
        assert (ROOT / script).is_file()


def test_both_languages_say_the_same():
    english, chinese = (page.read_text(encoding="utf-8") for page in PAGES)
    assert commands(PAGES[0]) == commands(PAGES[1])
    assert re.findall(r"^#+ \d", english, re.M) == re.findall(r"^#+ \d", chinese, re.M)
    assert set(re.findall(r"`([^`\n]+)`", english)) == set(re.findall(r"`([^`\n]+)`", chinese))
    bare = [re.sub(r"\]\([^)]*\)", "]", text) for text in (english, chinese)]        # addresses differ by language
    versions = [sorted(re.findall(r"\d+(?:\.\w+)+", text, re.A)) for text in bare]
    assert len(versions[0]) > 60 and versions[0] == versions[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_addresses_are_of_documents_and_of_the_two_sources_that_commands_need(page):
    """Not of package registries in general: which one a reader's pip and conda ask is the reader's business."""
    text = page.read_text(encoding="utf-8")
    sites = set(re.findall(r"(?<![\w.-])(?:\w+\.)+(?:io|com|cn|org|net)\b", text, re.A))
    assert sites == {"www.hiascend.com", "gitcode.com", "github.com", "download.pytorch.org", "quay.io"}
    assert not re.search(r"http:|[^(`]https://(?!download\.pytorch\.org/whl/cpu\b)", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_it_is_said_first_that_no_card_was_at_hand(page):
    text = page.read_text(encoding="utf-8")
    assert re.search(r"Not run on a card|尚未在真卡上运行过", text[:300])
    assert "* simulated: True\n" in text                # the sample report says of itself where it is from


def test_the_pins_are_those_of_the_environments():
    for name in ("environment-npu.yml", "environment-npu-2.12.yml"):
        lines = (ROOT / name).read_text(encoding="utf-8")
        [torch], [wheel] = (re.findall(rf"^ *- {part}==(.+)$", lines, re.M) for part in ("torch", "torch-npu"))
        for page in PAGES:
            text = page.read_text(encoding="utf-8").replace("**", "")
            assert re.search(rf"torch {re.escape(torch.removesuffix('+cpu'))} (with|与) torch-npu {re.escape(wheel)} ", text)
            assert f"({'../' + name})" in text


def test_recipes_of_contributing_name_files_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    wings = "world|model|published|generate|measure|training|ascend|course"
    named = set(re.findall(rf"(?<!a new )`((?:{wings})/\w+\.py)`", text))
    assert len(named) > 12
    assert {name for name in named if "NN" not in name and not (ROOT / "minglm" / name).is_file()} == set()
    tests = {name for name in re.findall(r"test_\w+\.py", text)}
    assert len(tests) > 8
    assert {name for name in tests if not (ROOT / "tests" / name).is_file()} == set()
    assert set(re.findall(r"^make ([a-z-]+)", text, re.M)) <= set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
