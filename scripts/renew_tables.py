"""Write the tables of the READMEs from the reports and logs beside the weights, so that no number is typed; and
count the exercises.

    python scripts/renew_tables.py           # what stands between <!-- table: NAME --> and <!-- end --> is replaced
    python scripts/renew_tables.py --check   # only say which file would change; exit status 1 if one would

Reports are what `minglm evaluate --prompts NAME --out data/weights/mini/NAME.json` wrote.
"""

import argparse
import csv
import json
import re
import sys
from pathlib import Path

from minglm.course.notebooks import exercises, read
from minglm.files import whole_file
from minglm.training.recipe import RECIPES

ROOT = Path(__file__).parents[1]
MINI = ROOT / "data" / "weights" / "mini"
PAGES = (ROOT / "README.md", ROOT / "README.zh-CN.md", MINI / "README.md")
LANGUAGES = dict(en=("English", "Chinese"), zh=("英文", "中文"))
ROWS = dict(word_accuracy=("word accuracy", "单词准确率"), case_accuracy=("word accuracy, case-sensitive", "单词准确率（区分大小写）"),
            ned=("NED", "NED"), recall=("recall of words or characters", "词或字的召回率"), extra_text=("extra text", "多余文字"),
            background=("background right", "背景正确"), object=("object right", "物体正确"), place=("place right", "位置正确"),
            text_colour=("text colour right", "文字颜色正确"))
TASKS = {"one object": ("one object", "object", "单个物体"), "two objects": ("two objects", "object", "两个物体"),
         "counting": ("counting", "count", "计数"), "colours": ("colours of background and text", "text_colour", "背景与文字颜色"),
         "position": ("position", "place", "位置"), "text colours": ("colours of two texts", "text_colour", "两段文字各自的颜色")}

EDITS = {"background": ("another background", "换背景"), "recolour text": ("recolour a text", "文字换颜色"),
         "replace text": ("replace a text", "替换文字"), "add text": ("add a text", "添加文字"),
         "remove text": ("remove a text", "删除文字"), "move text": ("move a text", "移动文字"),
         "translate text": ("translate a text", "翻译文字"), "swap object": ("swap an object", "替换物体"),
         "move object": ("move an object", "移动物体"), "add object": ("add an object", "添加物体"),
         "remove object": ("remove an object", "删除物体"), "recount object": ("change the number", "改变数量"),
         "restyle": ("another style", "换风格"), "identity": ("keep an object's looks elsewhere", "保持物体的样子"),
         "combine": ("several pictures in one", "多图合成")}


def report(name: str) -> dict:
    """Scores by column and group of one report; {} if there is none yet."""
    path = MINI / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["scores"] if path.is_file() else {}


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def share(scores: dict, *path: str) -> str:
    """One number of a report to three digits, or a dash where it is missing."""
    for key in path:
        scores = scores.get(key, {})
    return f"{scores:.3f}" if isinstance(scores, float | int) and scores == scores else "–"


def pictures(scores: dict) -> int:
    """How many prompts a report is about: all, or what `--limit` said."""
    return sum(scores.get("pipeline", {}).get(language, {}).get("pictures", 0) for language in LANGUAGES)


def miniposter(chinese: bool) -> str:
    """Every metric by language, four columns."""
    scores = report("miniposter")
    count = pictures(scores)
    head = ([f"{count} 条留出的提示词", "标准图", "VAE", "解码器（真实 id）", "整条流水线"] if chinese else
            [f"{count} prompts, held out", "gold drawing", "VAE", "decoder, true ids", "whole pipeline"])
    columns, colon = ("gold", "vae", "decoder", "pipeline"), "：" if chinese else ": "
    return table(head, [[f"{LANGUAGES['zh' if chinese else 'en'][i]}{colon}{names[chinese]}",
                         *(share(scores, column, language, metric) for column in columns)]
                        for i, language in enumerate(("en", "zh")) for metric, names in ROWS.items()])


def miniopen(chinese: bool) -> str:
    """Free prompts, with the enhancer and without it."""
    names = (("文字与背景全对", "文字（按词）", "背景", "物体", "被拒绝") if chinese else
             ("texts and background right", "words", "background", "object", "refused"))
    metrics = "full", "word_accuracy", "background", "object", "refused"
    ways = (("miniopen", ("default", "默认")), ("miniopen-plain", ("`--no-enhance`", "`--no-enhance`")))
    rows = [[f"{LANGUAGES['zh' if chinese else 'en'][i]}{'，' if chinese else ', '}{way[chinese]}",
             *(share(report(name), "pipeline", language, metric) for metric in metrics)]
            for i, language in enumerate(("en", "zh")) for name, way in ways]
    return table(["300 条自由书写的提示词" if chinese else "300 free prompts", *names], rows)


def others(chinese: bool) -> str:
    """MiniChineseWord, MiniLong and MiniCompose."""
    columns, words = ("gold", "vae", "decoder", "pipeline"), report("minichineseword")
    count = words.get("pipeline", {}).get("zh", {}).get("pictures", 3500)
    rows = [[(f"MiniChineseWord：3,500 个一级字中的 {count:,} 个，每张一字" if chinese else
              f"MiniChineseWord: {count:,} of the 3,500 characters of level 1"),
             *(share(words, column, "zh", "word_accuracy") for column in columns)]]
    for i, language in enumerate(("en", "zh")):
        name = LANGUAGES["zh" if chinese else "en"][i]
        count = report("minilong").get("pipeline", {}).get(language, {}).get("pictures", 0)
        rows.append([f"MiniLong，{name}，{count} 条：单词准确率" if chinese else
                     f"MiniLong, {name}, {count} prompts: word accuracy",
                     *(share(report("minilong"), column, language, "word_accuracy") for column in columns)])
    for task, (english, metric, hanzi) in TASKS.items():
        both = {c: [report("minicompose").get(c, {}).get(f"{language}-{task}", {}).get(metric) for language in ("en", "zh")]
                for c in columns}
        rows.append([f"MiniCompose：{hanzi}" if chinese else f"MiniCompose: {english}",
                     *(share(dict(mean=sum(v) / 2), "mean") if None not in v else "–" for v in both.values())])
    return table([""] + (["标准图", "VAE", "解码器（真实 id）", "整条流水线"] if chinese else
                         ["gold drawing", "VAE", "decoder, true ids", "whole pipeline"]), rows)


def miniedit(chinese: bool) -> str:
    """Edits: whether what was asked for was done, in four columns, and how alike the rest is, by kind."""
    scores, columns = report("miniedit"), ("gold", "vae", "decoder", "pipeline")
    groups = {"all": ("all", "全部"), "en": ("instructions in English", "英文指令"), "zh": ("instructions in Chinese", "中文指令")} | EDITS
    count = scores.get("pipeline", {}).get("all", {}).get("edits", 300)
    head = ([f"{count} 个留出的编辑：要求做到", "标准图", "VAE", "解码器（真实 id）", "整条流水线", "其余部分的 SSIM"] if chinese else
            [f"{count} held-out edits: asked change made", "gold drawing", "VAE", "decoder, true ids", "whole pipeline", "SSIM of the rest"])
    return table(head, [[names[chinese], *(share(scores, column, group, "made") for column in columns),
                         share(scores, "pipeline", group, "ssim")] for group, names in groups.items()])


def cells(chinese: bool) -> str:
    """Word accuracy of the whole pipeline by the number and the kind of texts."""
    scores, head = report("miniposter").get("pipeline", {}), ["word accuracy, whole pipeline", "words", "phrases", "random strings"]
    rows = [[f"{name}, {count} text{'s' * (count > 1)}", *(share(scores, f"{language}-{kind}-{count}", "word_accuracy")
                                                           for kind in ("words", "phrases", "random"))]
            for language, name in (("en", "English"), ("zh", "Chinese")) for count in (1, 2, 3)]
    return table(head, rows)


def stages(chinese: bool) -> str:
    """Steps, samples, minutes and last losses of every stage, from its log."""
    rows = []
    for name, recipe in RECIPES["mini"].items():
        log = MINI / "training" / name / "log.csv"
        if log.is_file():
            *_, last = csv.DictReader(log.open(encoding="utf-8"))
            losses = ", ".join(f"{key} {float(value):.3g}" for key, value in last.items()
                               if value and key not in ("step", "grad", "samples_per_second", "seconds"))
            rows.append([name, f"{int(last['step']):,} x {recipe.batch}", f"{int(last['step']) * recipe.batch:,}",
                         f"{float(last['seconds']) / 60:.0f}", losses])
    return table(["stage", "steps x batch", "samples", "minutes", "last losses"], rows)


TABLES = dict(miniposter=miniposter, miniopen=miniopen, others=others, miniedit=miniedit, cells=cells, stages=stages)


def renewed(page: Path) -> str:
    """The text of a page with its tables made anew. Raises KeyError for a table of an unknown name."""
    chinese = page.name.endswith("zh-CN.md")

    def one(found: re.Match) -> str:
        return f"<!-- table: {found[1]} -->\n{TABLES[found[1]](chinese)}\n<!-- end -->"

    return counted(re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", one, page.read_text(encoding="utf-8"), flags=re.S))


def counted(text: str) -> str:
    """The exercises of each notebook in the table of the course, and of all."""
    total = 0
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        total += (count := len(exercises(read(path))))
        text = re.sub(rf"(\(notebooks/{path.name}\) \|.*\|) \d+ \|", rf"\1 {count} |", text)
    return re.sub(r"The \d+ exercises|\d+ 道练习", lambda found: re.sub(r"\d+", str(total), found[0]), text)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true", help="write nothing")
    check, stale = options.parse_args().check, []
    for page in PAGES:
        text = renewed(page)
        if text != page.read_text(encoding="utf-8"):
            stale.append(str(page.relative_to(ROOT)))
            if not check:
                with whole_file(page) as temporary:
                    temporary.write_text(text, encoding="utf-8")
    print("\n".join(stale) or "every table is as the reports say")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
