"""Captions in Chinese: the many ways to ask for one poster. Why they vary so much: see captions_en.py.

`explicit_zh` is the enhancer's caption. `chinese` is people's: free in training, and in evaluation by a
pattern reserved for it: 请画一张…的海报：…，…的字是…. No training caption has 请画 or 的字是 unless quoted.
"""

from __future__ import annotations

import random

from minglm.world.colours import CALLED_ZH, COLOURS
from minglm.world.explicit import NUMBERS_ZH, PAIRS, marked
from minglm.world.layout import wrap
from minglm.world.objects import things
from minglm.world.posters import PLACES, Group, Poster
from minglm.world.quotes import QUOTES, quoted, unquoted

RESERVED = ("请画", "的字是")                 # for evaluation
SHEETS = {name[:-1]: name[-1] for name in """海报张 牌子块 卡片张 图张 图片张 封面张 横幅条 传单张 贴纸张
    标语条 招牌块 画幅 壁纸张 明信片张 宣传单张 告示张 插图幅 背景图张""".split()}    # with measures
ASK = """帮我画 帮我做 给我画 给我来 给我做 来 做 画 设计 生成 我要 我想要 想要 需要 我需要 能不能画
    能不能帮我做 求 能不能给我设计 麻烦画 麻烦帮我做 老师让我画 老师让我做 老板让我设计 搞 弄 请帮我画 请生成
    请设计 请给我做 想做 我想画 帮忙做 帮忙设计 制作""".split()
ASK_OBJECTS = [ask for ask in ASK if ask.endswith("画")] + ["我要", "想要", "给我来", "生成"]
ASK_TEXT = "帮我写 给我写 麻烦写 请写 就写 我想写 写".split()
BEFORE = """你好 您好 在吗 嗨 哈喽 亲 老板 急 急急急 求助 测试 打扰了 有个需求 我的想法是这样 再来一次 换一个
    这次要简单的 公司要用 新店开业 给孩子做的 是这样的 麻烦你了""".split()
AFTER = """谢谢 谢谢啦 多谢 拜托了 辛苦了 急用 尽快 越快越好 明天要用 今天就要 周一要交 给我女儿做的
    送给妈妈的 送朋友的 开业用 公司年会用 幼儿园活动用 挂在走廊 打印出来用 发朋友圈 发群里用 做头像用
    参加比赛用 布置教室用 简洁一点 简单点 好看点 可爱一点 大气一点 高级感 有质感 温馨一点 喜庆一点 醒目一点
    要吸引人 高清 4K 细节丰富 可爱风格 卡通风格 扁平风 手绘风 极简风 复古风 国潮风 像素风 水彩风 儿童插画风
    字体要粗 字要清楚 不要别的东西 别太复杂 不要边框 排版整齐 有节日气氛""".split()
LOOKS = """可爱的 胖胖的 戴帽子的 正在睡觉的 Q版 Q版的 水彩 水彩风的 卡通 卡通的 手绘的 开心的 微笑的 搞笑的
    漂亮的 好看的 萌萌的 圆圆的 毛茸茸的 软软的 闪亮的 写实的 逼真的 立体的 扁平风的 简笔画 复古的 神气的
    调皮的 呆呆的 懒洋洋的 戴眼镜的 戴围巾的 跳舞的 正在唱歌的 会飞的 新鲜的 精致的 神奇的 孤单的""".split()
SIZE = {"small": "小小的 小小的 很小的 迷你 迷你的 小巧的 特别小的".split(),
        "big": "大大的 大大的 很大的 巨大的 超大的 特别大的 大号的".split()}
PLACE = {"left": "左边 左边 左侧 左面 靠左 左手边 最左边".split(),
         "right": "右边 右边 右侧 右面 靠右 右手边 最右边".split(),
         "centre": "中间 中间 中央 正中间 正中央 居中 当中".split(),
         "top": "顶部 上方 上面 最上面 顶上 上边 靠上 顶端".split(),
         "bottom": "底部 下方 下面 最下面 底下 最底下 下边 靠下".split()}
ADVERBS = "靠左 靠右 居中 靠上 靠下".split()    # places that take no 在
SHEET_COLOUR = """{c}{n} {c}{n} {c}{n} {c}的{n} {c}的{n} {c}的{n} {s}底{n} {s}底的{n} {c}背景的{n}
    {c}底色的{n} 背景是{c}的{n} 底色为{c}的{n} {c}背景{n} {n}（{c}）""".split()    # {s}: 红 for 红色
BACKGROUND = """{c}背景 {c}背景 背景{c} 背景是{c} 背景用{c} 底色是{c} 底色{c} {s}底 {c}底 {c}的背景
    背景是{c}的 背景要{c} 背景要{c}的 底色用{c} 用{c}做背景 用{c}打底 背景色{c} 背景：{c} 底色：{c}""".split()
SHOW = "{t} {t} 画着{t} 有{t} 画{t} 配{t} 配上{t} 要有{t} 上面画着{t} 图案是{t} 加{t}".split()
SHOW_AT = "{at}有{t} {at}画着{t} {at}是{t} {at}画{t} {at}放{t} {at}{t} {t}{after} {t}{after}".split()
VERBS = "写着 写着 写着 写 写上 印着 印上 写了".split()
NOUNS = "文字 字 标题 文案 标语 大字 配文 内容 文字内容 口号".split()
INK = "字用{c} 文字用{c} 文字都用{c} 字体{c} 文字颜色是{c} {s}字 {c}字体 {c}文字 文字要{c}的".split()
JOINTS = ("，", "，", "，", "，", ",", "、", " ", " ", "。", "；", "\n", "")
Colour = tuple[str, str]                     # in full and short: 红色, 红


# ---------------------------------------------------------------- people's ways

def called(rng: random.Random, colour: str, mixed: bool) -> Colour:
    """A colour as people call it, now and then in English if `mixed`."""
    if mixed and rng.random() < 0.5:
        return colour, colour
    name = COLOURS[colour][1] if rng.random() < 0.75 else rng.choice(CALLED_ZH[colour])
    name = name.removesuffix("色") + "色"
    return name, name if len(name) > 3 or name == "咖啡色" else name[:-1]


def sheet(rng: random.Random, poster: Poster, mixed: bool) -> tuple[str, str, str]:
    """(the sheet, its measure word, the background), each empty if it is not told or told by another."""
    others = tuple(SHEETS)[1:]
    noun = rng.choice(("海报", "海报", rng.choice(others), rng.choice((*others, *[""] * 20))))
    measure = SHEETS.get(noun, "")
    if rng.random() < 0.25 and (poster.groups or poster.regions):
        return noun, measure, ""
    colour, short = called(rng, poster.background, mixed)
    if noun and rng.random() < 0.55:
        return rng.choice(SHEET_COLOUR).format(c=colour, s=short, n=noun), measure, ""
    return noun, measure, rng.choice(BACKGROUND).format(c=colour, s=short)


def one_kind(rng: random.Random, group: Group, looks: str, mixed: bool) -> str:
    """Objects of one kind by any of their names: 猫, 一只可爱的小猫, 两只小小的猫咪, 猫3只."""
    kind = things()[group.thing]
    name = kind.zh if rng.random() < 0.6 else rng.choice(kind.zh_names)
    if name[0] in "一半" and group.count > 1:  # 一本书, 半个牛油果
        name = kind.zh
    numbered = name[0] in "一半" and name != kind.zh or group.count == 1 and rng.random() < 0.33
    if mixed and rng.random() < 0.5:
        name = kind.en
    if rng.random() < 0.18:
        natural = [called(rng, colour, mixed)[0] + "的" for colour in kind.colours]
        looks += rng.choice(natural if natural and rng.random() < 0.3 else LOOKS)
    if numbered:
        return looks + name
    measure = "个" if rng.random() < 0.05 else kind.measure
    number = (NUMBERS_ZH[group.count] if rng.random() < 0.75 else str(group.count)) + measure
    if rng.random() < 0.06:
        return looks + name + (number if rng.random() < 0.7 else f"×{group.count}")
    return number + looks + name


def objects(rng: random.Random, poster: Poster, mixed: bool, verbal: bool) -> tuple[str, str]:
    """(the objects, the objects in a clause, both with or without their place); `verbal`: with a verb."""
    size = rng.choice(SIZE[poster.size]) if poster.size in SIZE and rng.random() < 0.7 else ""
    shown = rng.choice(("和", "和", "和", "还有", "加", "、", "跟", "以及")).join(
        one_kind(rng, group, size, mixed) for group in poster.groups)
    if rng.random() < 0.6:
        return shown, rng.choice(("画着{t}", "有{t}", "印着{t}") if verbal else SHOW).format(t=shown)
    at = rng.choice(PLACE[poster.place])
    after = at if at in ADVERBS else rng.choice(("在", "在", "放在", "放", "画在")) + at
    clause = rng.choice(SHOW_AT[:2] if verbal else SHOW_AT).format(t=shown, at=at, after=after)
    return shown + after, clause


def text_clause(rng: random.Random, quotes: str, colour: Colour | None, at: str, verbal: bool) -> str:
    """A text, or several in a row, in quotation marks, with the colour and the place if they are given."""
    full, short = colour or ("", "")
    of = rng.choice((f"{full}的", f"{full}的", full, f"{short}字")) if full else ""
    placed = bool(at) and at not in ADVERBS
    form = 0 if verbal else rng.random()
    if form < 0.4:
        before = f"在{at}" if placed and rng.random() < 0.2 else at
        if full and rng.random() < 0.35:
            return f"{before}用{full}{rng.choice(('', '', '的字', '字体'))}{rng.choice(VERBS)}{quotes}"
        verb = rng.choice(VERBS if at or verbal else (*VERBS, "上面写着", "上面写", "内容是", "写的是"))
        return before + verb + of + quotes + rng.choice(("",) * 14 + ("字样", "几个字"))
    if form < 0.7:
        noun = rng.choice(NOUNS)
        link = rng.choice(("", "", "：", "写") if noun == "字" else ("", "", "：", ":", "是", "为"))
        return f"{at}{rng.choice(('', '的')) if placed else ''}{full}{noun}{link}{quotes}"
    if at and form > 0.85:
        return of + quotes + (rng.choice(("在", "写在", "放在", "放")) if placed else "") + at
    if full and rng.random() < 0.3:
        return at + quotes + rng.choice((f"（{full}）", f"用{full}", f"是{full}的", f"要{full}的"))
    return at + (rng.choice(("", "", "：")) if at else "") + of + quotes


def texts(rng: random.Random, poster: Poster, mixed: bool, verbal: bool) -> list[str]:
    """A clause for each text, or one for all. Half of the places and half of the colours are told."""
    pair = rng.choice((*QUOTES["zh"] * 3, "『』", "‘’", "«»"))
    alike, coins = rng.random() < 0.5, [rng.random() < 0.5, rng.random() < 0.5]
    found = []
    for region in poster.regions:
        with_colour, with_place = coins if alike else [rng.random() < 0.5, rng.random() < 0.5]
        lines = wrap(region.text, poster.width) if rng.random() < 0.25 else [region.text.replace("\n", " ")]
        quotes = rng.choice(("", "", "、", " ", "，")).join(marked(line, (pair, *PAIRS)) for line in lines)
        at = rng.choice(PLACE[region.slot])
        if region.slot in ("left", "right") and poster.groups and rng.random() < 0.25:
            beside = things()[poster.groups[0 if region.slot == "left" else -1].thing].zh
            at = beside + rng.choice(("旁边", "的旁边", f"的{PLACES[region.slot]}", PLACES[region.slot]))
        colour = called(rng, region.colour, mixed) if with_colour else None
        found.append((quotes, colour, at if with_place else ""))
    colours, ink = [colour for _, colour, _ in found if colour], []
    same = len({region.colour for region in poster.regions}) == 1 and len(colours) == len(found)
    if same and not verbal and rng.random() < 0.2:               # the colour once: 写着“你好”，字用白色
        ink = [rng.choice(INK).format(c=colours[0][0], s=colours[0][1])]
        found, colours = [(quotes, None, at) for quotes, _, at in found], []
    placed = all(at for *_, at in found) and len({region.slot for region in poster.regions}) == len(found)
    if placed and rng.random() < 0.4:        # in any order, since each tells its place
        rng.shuffle(found)
    if len(found) > 1 and not any(at for *_, at in found) and rng.random() < 0.5:
        joint = rng.choice(("和", "和", "、", "，", "", " ", "还有"))
        if same or not colours:
            quotes = joint.join(quotes for quotes, *_ in found)
            return [text_clause(rng, quotes, found[0][1], "", verbal)] + ink
        items = [(f"{colour[0]}的" if colour else "") + quotes for quotes, colour, _ in found]
        return [rng.choice(("写着", "写着", "写上", "有")) + joint.join(items)]
    return [text_clause(rng, *one, verbal) for one in found] + ink


def free(rng: random.Random, poster: Poster) -> str:
    """One way of asking for a poster, which may be no good where its marks meet letters."""
    mixed, ask = rng.random() < 0.05, rng.random() < 0.5
    noun, measure, background = sheet(rng, poster, mixed)
    verbal = noun != "" and rng.random() < 0.2
    shown, scene = objects(rng, poster, mixed, verbal) if poster.groups else ("", "")
    parts = texts(rng, poster, mixed, verbal)
    if verbal:                               # 一张画着猫、写着“你好”的红色海报
        inside = [part for part in ([*parts, scene] if rng.random() < 0.4 else [scene, *parts]) if part]
        keep = rng.randint(1, max(1, len(inside)))
        noun = rng.choice(("、", "，", "，")).join(inside[:keep]) + "的" * bool(inside) + noun
        parts, scene = inside[keep:], ""
    whole = noun
    if noun and ask:
        number = rng.choice((f"一{measure}", f"一{measure}", f"一{measure}", measure, "个", "一个"))
        whole = rng.choice(ASK) + number + noun
    elif noun and rng.random() < 0.4:
        whole = f"一{measure}{noun}"
    elif ask and scene:
        scene = rng.choice(ASK_OBJECTS) + shown
    elif ask and parts and parts[0][0] in '"“「『«‘':
        parts[0] = rng.choice(ASK_TEXT) + parts[0]
    unbroken = rng.random() < 0.7            # the texts stay together
    for part in rng.sample((scene, background, whole), 3):
        if part:
            parts.insert(rng.choice((0, len(parts))) if unbroken else rng.randint(0, len(parts)), part)
    joint, said = rng.choice(JOINTS), parts[0]
    for last, part in zip(parts, parts[1:]):
        glue = joint if rng.random() < 0.85 else rng.choice(JOINTS[:6])
        if last in (noun, background) and last.endswith(("背景", *SHEETS)) and rng.random() < 0.5:
            glue = "上" if part.startswith(("写", "印", "画着", "有")) else glue    # 红色海报上写着“你好”
        if last.endswith("色") or part == whole:
            glue = glue or "，"              # not 背景红色白色的“你好”
        said += glue + part
    if rng.random() < 0.12:
        said = rng.choice(BEFORE) + rng.choice(("，", "，", " ", "：", "！", "。")) + said
    if rng.random() < 0.25:
        said += rng.choice(("，", "，", " ", "。", ",")) + rng.choice(AFTER)
    return said + ("？" if "能不能" in said else rng.choice(("。", "。", "", "", "", "！", "~")))


def chinese(rng: random.Random, poster: Poster) -> str:
    """One training caption."""
    letters = sorted("".join("".join(region.text for region in poster.regions).split()))
    while True:                              # ‘CAT’3只猫 has no quotation: a digit follows the mark
        said = free(rng, poster)
        right = sorted("".join("".join(quoted(said)).split())) == letters
        if right and not any(words in unquoted(said) for words in RESERVED):
            return said
