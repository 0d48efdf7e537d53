"""The twelve colours of posters, and which can be read on which."""

from __future__ import annotations

import math
from functools import cache

COLOURS = {  # name: (RGB, Chinese name)
    "red": ((220, 38, 38), "红色"), "orange": ((245, 130, 32), "橙色"),
    "yellow": ((250, 215, 60), "黄色"), "green": ((30, 140, 60), "绿色"),
    "blue": ((35, 80, 200), "蓝色"), "purple": ((125, 50, 165), "紫色"),
    "pink": ((250, 165, 200), "粉色"), "brown": ((115, 70, 35), "棕色"),
    "black": ((20, 20, 20), "黑色"), "white": ((250, 250, 250), "白色"),
    "gray": ((140, 140, 140), "灰色"), "cyan": ((60, 200, 215), "青色"),
}
CALLED_EN = {  # colour: what people also call it; a shade counts as its colour, so light blue is blue
    "red": ("scarlet", "crimson", "dark red", "bright red", "maroon", "burgundy", "wine red",
            "cherry red", "ruby red"),
    "orange": ("bright orange", "dark orange", "light orange", "burnt orange"),
    "yellow": ("golden", "gold", "light yellow", "bright yellow", "lemon yellow", "mustard yellow"),
    "green": ("dark green", "emerald", "bright green", "lime green", "olive green", "mint green",
              "forest green", "light green", "pale green"),
    "blue": ("navy", "navy blue", "dark blue", "royal blue", "bright blue", "light blue", "sky blue",
             "baby blue", "ocean blue", "pale blue", "indigo", "deep blue"),
    "purple": ("violet", "dark purple", "lavender", "light purple", "plum"),
    "pink": ("light pink", "hot pink", "rose pink", "pale pink", "salmon pink", "pastel pink"),
    "brown": ("dark brown", "light brown", "chocolate brown", "coffee brown"),
    "black": ("pitch black", "jet black"),
    "white": ("plain white", "snow white", "off-white", "whitish", "off white", "ivory", "pure white"),
    "gray": ("grey", "light gray", "dark grey", "silver", "light grey", "dark gray", "ash gray"),
    "cyan": ("turquoise", "teal", "aqua"),
}
CALLED_ZH = {
    "red": ("红", "大红色", "鲜红色", "深红色", "朱红色", "枣红色", "酒红色", "玫瑰红", "玫红色",
            "中国红", "火红色"),
    "orange": ("橙", "橘色", "橘红色", "橘黄色", "橙红色", "橙黄色"),
    "yellow": ("黄", "金色", "金黄色", "明黄色", "浅黄色", "淡黄色", "柠檬黄", "鹅黄色", "嫩黄色", "金黄"),
    "green": ("绿", "深绿色", "翠绿色", "草绿色", "墨绿色", "橄榄绿", "薄荷绿", "苹果绿", "嫩绿色",
              "浅绿色", "碧绿色"),
    "blue": ("蓝", "深蓝色", "宝蓝色", "海蓝色", "天蓝色", "浅蓝色", "湖蓝色", "蔚蓝色", "湛蓝色",
             "藏青色", "藏蓝色", "靛蓝色", "淡蓝色"),
    "purple": ("紫", "深紫色", "紫罗兰色", "浅紫色", "淡紫色", "薰衣草紫"),
    "pink": ("粉", "粉红色", "粉红", "浅粉色", "桃红色", "浅粉", "嫩粉色", "淡粉色"),
    "brown": ("棕", "褐色", "咖啡色", "深棕色", "巧克力色", "棕褐色"),
    "black": ("黑", "纯黑色", "漆黑色", "乌黑", "墨黑色"),
    "white": ("白", "纯白色", "雪白色", "米白色", "雪白", "洁白", "米白", "奶白色", "乳白色"),
    "gray": ("灰", "银色", "浅灰色", "深灰色", "银灰色"),
    "cyan": ("青", "蓝绿色", "青绿色", "水绿色"),
}


def luminance(rgb: tuple[int, int, int]) -> float:
    """WCAG relative luminance."""
    linear = [c / 3294.6 if c <= 10.3 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@cache
def text_colours(background: str) -> tuple[str, ...]:
    """The colours readable on a background: WCAG contrast of at least 3."""
    base = luminance(COLOURS[background][0]) + 0.05
    ratios = {c: (luminance(rgb) + 0.05) / base for c, (rgb, _) in COLOURS.items()}
    return tuple(c for c, r in ratios.items() if max(r, 1 / r) >= 3)


def lab(rgb: tuple[int, int, int]) -> tuple[float, float, float]:
    """A colour in CIE L*a*b*, in which distances are as people see them."""
    r, g, b = (luminance((c, c, c)) for c in rgb)                                # each channel, made linear
    xyz = ((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505, 0.2126 * r + 0.7152 * g + 0.0722 * b,
           (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089)
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def nearest(rgb: tuple[int, int, int]) -> str:
    """The name of the colour that looks most like this one."""
    return min(COLOURS, key=lambda name: math.dist(lab(COLOURS[name][0]), lab(rgb)))
