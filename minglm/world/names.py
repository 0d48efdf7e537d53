"""The names that the prompt enhancer knows, in English and in Chinese: places, colours, numbers, objects."""

from __future__ import annotations

import re
from functools import cache

from minglm.world.characters import is_han
from minglm.world.chinese import numerals
from minglm.world.colours import CALLED_EN, CALLED_ZH, COLOURS
from minglm.world.objects import things
from minglm.world.shades import HUES, lenders, shades, split

PLACES = {
    "left": "left, left side, left-hand side, left hand side, left half, left corner, 左边, 左侧, 左面, "
            "左方, 左下角, 左半边, 靠左, 左",
    "right": "right, right side, right-hand side, right hand side, right half, right corner, 右边, "
             "右侧, 右面, 右方, 右下角, 右半边, 靠右, 右",
    "centre": "centre, center, middle, centered, centred, central, in between, 中间, 中央, 正中, "
              "正中间, 正中央, 中心, 居中, 当中, 中部",
    "top": "top, upper part, upper half, above, overhead, top left, top right, upper left, upper right, "
           "header, top corner, on top, top edge, 顶部, 上方, 上面, 上边, 顶上, 顶端, 最上面, 最上方, "
           "上部, 正上方, 左上角, 右上角, 左上方, 右上方, 上半部分, 上头, 抬头",
    "bottom": "bottom, lower part, lower half, below, underneath, beneath, under it, bottom left, "
              "bottom right, lower left, lower right, footer, at the foot, bottom corner, bottom edge, "
              "底部, 下方, 下面, 下边, 底下, 底端, 最下面, 最下方, 下部, 正下方, 脚下, 右下方, 左下方, "
              "下半部分, 下头",
}
NUMBERS = {
    1: "one, 1, single, a single, 一, 1只, 单",
    2: "two, 2, a couple of, a pair of, pair of, both, twin, couple of, 两, 二, 俩, 一对, 一双, 双",
    3: "three, 3, a few, several, some, trio of, 三, 仨, 几, 一些, 一群, 许多, 很多, 好多",
    4: "four, 4, 四",
    5: "five, 5, many, lots of, 五",
    6: "six, 6, half a dozen, 六, 半打",
    7: "seven, 7, 七",
    8: "eight, 8, 八",
    9: "nine, 9, 九",
    10: "ten, 10, 十",
    11: "eleven, 十一", 12: "twelve, dozen, a dozen, dozens of, a dozen of, 十二, 一打", 13: "thirteen, 十三",
    14: "fourteen, 十四", 15: "fifteen, 十五", 16: "sixteen, 十六", 17: "seventeen, 十七",
    18: "eighteen, 十八", 19: "nineteen, 十九", 20: "twenty, 二十", 30: "thirty, 三十", 40: "forty, 四十",
    50: "fifty, 五十", 60: "sixty, 六十", 70: "seventy, 七十", 80: "eighty, 八十", 90: "ninety, 九十",
    100: "a hundred, one hundred, hundreds of, 一百", 1000: "a thousand, thousands of, 一千",
}
SIZES = {
    "big": "big, large, huge, giant, very large, very big, enormous, oversized, full-size, 大大的, "
           "巨大的, 超大的, 很大的, 特大的, 大大, 超大, 巨大, 巨型, 大个",
    "small": "small, tiny, little, mini, very small, miniature, 小小的, 迷你, 很小的, 超小的, 微型, 小小",
}
SHEETS = ("poster, background, backdrop, sign, card, flyer, flier, banner, picture, image, sticker, "
          "cover, postcard, greeting card, notice, design, billboard, wallpaper, label, graphic, "
          "illustration, invitation, leaflet, page, paper, sheet, canvas, board, bg, placard, brochure, "
          "ad, advert, print, drawing, pic, photo, invite, tag, plate, badge, logo, bookmark, screen, "
          "menu, ground, square, colour scheme, color scheme, whole thing, backround, meme, thumbnail, "
          "back, behind, wall, everything else, the rest, surroundings, surface, 背后, 背面, 墙, 墙面, 墙壁, "
          "后墙, 其余, 其余地方, 其他地方, 其它地方, 四周, 周围, "
          "海报, 色调, 主色调, 主色, 调的, 色系, 底图, 背景, 背景色, 底色, 底, 底子, 卡片, 贺卡, 牌子, "
          "图片, 图, 画, 横幅, 封面, 传单, 贴纸, 标牌, 招牌, 壁纸, 明信片, 告示, 告示牌, 纸, 画面, "
          "请柬, 请帖, 邀请函, 广告, 宣传单, 宣传画, 宣传页, 板报, 黑板报, 头像, 插画, 插图, 标签, "
          "黑板, 白板, "
          "启事, 易拉宝, 展板, 封皮, 书签, 公告, 通知, 单子, 菜单, 名片, 门牌, 警示牌, 提示牌, 屏保, "
          "画布, 版面, 路牌, 奖状, 牌")
LETTERS = ("words, word, text, letters, letter, lettering, font, title, headline, writing, caption, "
           "slogan, heading, characters, type, typography, ink, script, message, inscription, 字, 文字, "
           "大字, 字体, 标题, 标语, 文案, 字样, 大标题, 小字, 汉字, 口号, 美术字, 粗体字, 粗体, 艺术字, "
           "粉笔字, 毛笔字, 钢笔字, 铅笔字, 英文, 英文字母, 中文")
# words that contain or look like a name and mean none
ASIDES = ("花纹, 花哨, 太花, 花边, 敲门, 部门, 出门, 上门, 进门, 专门, 热门, light, dark, bright, pale, "
          "deep, plain, 浅, 深, 淡, 亮, 暗, for my shop, for our shop, for the shop, ice cream shop, "
          "for school, at school, our school, my school, school fair, high school, school trip, "
          "school play, school project, book club, book fair, book shop, 心情, 中心广场, 水平, 书店, "
          "门口, 大门口, 马上, 马路, 花店, 学校的, 我们学校, 学校门口, 商店门口, 家门口, 门上, 窗上, "
          "墙上, 画一, 画个, 画张, 画上, 画着, 画一张, 画一幅, 手机壁纸, 电脑桌面, 朋友圈, 小红书, "
          "黄山, 黄河, 青海, 青岛, 红海, 黑海, 黑龙江, 白云山, 长白山, 红楼梦, 白酒, 马卡龙, "
          "五颜六色, 五彩, 七彩, "
          "车上, 门外, 门头, 烟灰缸, 下雨天, 雨天, 下雪天, 雪天, at dawn, at sunrise, at sunset, "
          "before dawn, 图书馆, 书法, 花样, 花里胡哨, on the door, on my door, on the window, "
          "on the fridge, on my phone, phone wallpaper, for the kitchen door, for the window, "
          "for the door, star of, in the style of, cartoon style, watercolor, watch out, keep, "
          "rock 'n' roll, rock ’n’ roll, rock 'n roll, rock n roll, rock and roll, rock & roll, rock band, "
          "rock concert, rock music, rock star, welcome back, come back, coming back, go back, going back, "
          "get back, look back, give back, back to, back in, back at, back home, back from, back door, "
          "back soon, be back, i'm back, we're back, are back, is back, its back, his back, her back, "
          "their back, back and forth, wall clock, great wall, wall street")


def spellings(colour: str) -> set[str]:
    """A colour as it may be written: sky blue, sky-blue; 酒红, 酒红色, but 咖啡色 and not 咖啡."""
    if colour.isascii():
        return {colour, colour.replace(" ", "-")}
    short = re.fullmatch(f"(.+[{HUES}]|[{HUES}])色?", colour)
    return {short[1], short[1] + "色"} if short else {colour}


@cache
def vocabulary() -> dict[str, tuple[str, str | int, bool]]:
    """Every name, in lower case -> (kind, value, plural)."""
    table: dict[str, tuple[str, str | int, bool]] = {}
    for name in split(LETTERS):
        table[name] = ("letters", name, False)
    for name in split(SHEETS):
        table[name] = ("sheet", name, False)
        if name.isascii():
            table[name + "s"] = ("sheet", name, False)
    for kind, groups in (("place", PLACES), ("number", NUMBERS), ("size", SIZES)):
        for value, names in groups.items():
            table |= {name: (kind, value, False) for name in split(names)}
    table |= {name: ("number", value, False) for name, value in numerals().items()}
    for thing in things().values():
        for name in thing.forms:
            table[name.lower()] = ("thing", thing.en, False)
        table |= {name: ("thing", thing.en, False) for name in thing.zh_names}
    for thing in things().values():          # a plural that is also a name, such as fireworks, is the name
        for name, (_, plural) in thing.forms.items():
            if plural in thing.forms and plural not in (name, thing.en):         # boots are several of a boot
                table[plural.lower()] = ("thing", thing.en, True)
            table.setdefault(plural.lower(), ("thing", thing.en, True))
            regular = name.lower() + ("es" if name.endswith(("s", "x", "sh", "ch")) else "s")
            table.setdefault(regular, ("thing", thing.en, True))         # two beers, cactuses
    # orange is a colour unless it stands like a fruit: see `fruit` in reading.py
    called = shades() | {name: colour for colour, (_, zh) in COLOURS.items()
                         for name in (colour, f"{colour}ish", *CALLED_EN[colour], zh, *CALLED_ZH[colour])}
    for name, colour in called.items():
        for spelt in spellings(name):
            table[spelt] = ("colour", colour, False)
    for noun, colour in lenders().items():
        if not is_han(noun) or len(noun) > 1:
            table.setdefault(noun, ("noun", colour, False))
    table |= {name: ("aside", name, False) for name in split(ASIDES)}
    return table
