"""The pages in docs/: links resolve, commands exist, both languages say the same, and nothing is claimed of a card."""

import re
from pathlib import Path

import pytest

from minglm.__main__ import command_line

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
    assert len(links) >= 8
    for link in links:
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
    versions = [sorted(re.findall(r"\d+(?:\.\w+)+", text, re.A)) for text in (english, chinese)]
    assert len(versions[0]) > 60 and versions[0] == versions[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_it_is_said_first_that_no_card_was_at_hand_and_no_address_is_given(page):
    text = page.read_text(encoding="utf-8")
    assert re.search(r"Not run on a card|尚未在真卡上运行过", text[:300])
    assert "://" not in text and not re.search(r"\b\w+\.(io|com|cn|org)\b", text)


def test_the_pins_are_those_of_the_environment():
    pins = re.findall(r"^ *- (?:torch|torch-npu)==([\d.]+)$", (ROOT / "environment-npu.yml").read_text(), re.M)
    assert len(pins) == 2 and len(set(pins)) == 1
    for page in PAGES:
        assert f"**torch {pins[0]}**" in page.read_text(encoding="utf-8")
