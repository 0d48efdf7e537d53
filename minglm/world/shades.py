"""Colours that people name and training captions do not: shades, and nouns known for their colour.

A compound ends in its colour: 宝石蓝, moss green; what its noun names is not asked for.
"""

from __future__ import annotations

from functools import cache

# names of one shade; a Chinese one also with 色
ALSO = {
    "red": "reddish, ruby, blood red, fire-engine red, fire engine red, strawberry red, vermilion, cerise, "
           "carmine, oxblood, garnet, claret, 大红, 红红火火, 红艳艳, 红彤彤, 红通通, 喜庆红, 通红, 绛红, "
           "嫣红, 殷红, 绯红, 赤红",
    "orange": "tangerine, apricot, terracotta, 杏色, 橘, 橘红, 橙红, 橙黄, 橘黄, 红橙",
    "yellow": "canary yellow, sunny yellow, lemon-yellow, sunflower yellow, banana yellow, saffron, ochre, "
              "ocher, 米黄, 枯黄, 焦黄, 蜡黄, 金灿灿, 金闪闪, 金光闪闪, 金晃晃, 黄灿灿, 黄澄澄, 烫金, "
              "香槟色, 香槟金",
    "green": "greenish, olive, sage, jade, viridian, chartreuse, sea green, seafoam, bottle green, 大绿, "
             "青草色, 翠绿, 绿油油, 绿莹莹, 碧绿, 豆沙绿, 护眼绿, 黄绿, 水绿, 灰绿",
    "blue": "bluish, ice blue, egg blue, robin's egg blue, robin egg blue, cobalt, azure, teal blue, "
            "cerulean, ultramarine, sapphire, periwinkle, prussian blue, powder blue, electric blue, "
            "steel blue, slate blue, 藏青, 藏蓝, 靛青, 克莱因蓝, 蒂芙尼蓝, 普鲁士蓝, 蔚蓝, 蓝莹莹, 蓝盈盈, "
            "蓝汪汪, 湛蓝, 靛蓝, 碧蓝, 灰蓝, 群青",
    "purple": "purplish, lilac, mauve, amethyst, violet purple, 大紫, 雪青, 紫莹莹, 青紫, 绛紫, 黛紫, "
              "蓝紫, 灰紫, 紫红, 香芋色",
    "pink": "pinkish, rosy, rose gold, 玫瑰金, bubblegum, magenta, fuchsia, blush, peach pink, 粉嫩, "
            "粉嫩嫩, 粉嘟嘟, 粉扑扑, 粉粉嫩嫩, 洋红, 玫粉, 桃粉, 桃红, 水红, 裸粉, 肉粉, 藕荷色",
    "brown": "brownish, tan, khaki, umber, sienna, sepia, taupe, 驼色, 卡其, 焦糖色, 褐, 咖, 赭石色, "
             "古铜色, 黄褐, 红棕, 黄棕, 红褐, 茶褐",
    "black": "blackish, ebony, 黑乎乎, 黑漆漆, 黑黝黝, 黑压压, 漆黑, 乌黑, 黝黑, 黑咕隆咚, 乌漆嘛黑, "
             "乌漆麻黑, 乌漆墨黑",
    "white": "cream, beige, eggshell, snow-white, alabaster, ecru, 米色, 奶油色, 白花花, 白茫茫, 白皑皑, "
             "白晃晃, 月白, 本白, 煞白, 亮白, 灰白, 银白",
    "gray": "greyish, grayish, slate, charcoal, gunmetal, pewter, graphite, 灰蒙蒙, 灰扑扑, 银闪闪, "
            "灰不溜秋, 银, 青灰, 蓝灰, 烟灰色, 高级灰",
    "cyan": "aquamarine, cyan blue, 青蓝, 蓝绿, 青绿, 湖青, 青碧",
}
# nouns before a colour, 砖红 and brick red, which also lend it: brick-coloured, 砖块的颜色. Of the objects
# only those that a shade is known by: frog green is none, so that "frog, green" may do without its comma
NOUNS = {
    "red": "brick, blood, wine, cherry, tomato, ruby, poppy, chili, chilli, rust, cranberry, raspberry, "
           "beetroot, flame, 国旗, 中国, 砖, 砖块, 砖头, 红砖, 酒, 枣, 红枣, 玫瑰, 玫, 樱桃, 番茄, 火, "
           "火焰, 烈焰, 血, 鲜血, 朱砂, 朱, 铁锈, 锈, 辣椒, 石榴, 胭脂, 山楂, 西瓜, 故宫, 宫墙, 印泥, "
           "珊瑚, 枫叶, 法拉利, 勃艮第",
    "orange": "pumpkin, carrot, tangerine, rust, coral, amber, copper, apricot, sunset, 晚霞, 落日, 琥珀, "
              "爱马仕, 柿子, 铜",
    "yellow": "lemon, canary, mustard, butter, corn, honey, sand, straw, egg yolk, buttercup, daffodil, "
              "amber, 柠檬, 蛋黄, 芥末, 土, 泥土, 沙, 沙子, 沙滩, 沙漠, 麦, 麦子, 麦田, 稻草, 迎春花, 鹅, "
              "姜, 杏, 芒果",
    "green": "grass, leaf, mint, moss, fern, pine, lime, forest, jungle, apple, avocado, bamboo, emerald, "
             "pistachio, matcha, pea, cucumber, spinach, basil, lawn, meadow, army, kiwi, 草, 草地, 草坪, "
             "草原, 青草, 树叶, 叶, 叶子, 荷叶, 竹, 竹子, 竹叶, 薄荷, 苔藓, 松, 松针, 森林, 牛油果, 抹茶, "
             "豆, 豌豆, 苹果, 橄榄, 翡翠, 祖母, 孔雀, 军, 墨, 葱, 春",
    "blue": "sky, sea, ocean, midnight, ice, navy, royal, denim, sapphire, cornflower, blueberry, lake, "
            "peacock, 天, 天空, 海, 大海, 海水, 海洋, 深海, 湖, 湖水, 冰, 冰川, 宝石, 宝, 蓝宝石, 牛仔, "
            "孔雀, 午夜, 夜空, 星空, 雾霾, 矢车菊, 蓝莓, 水, 皇家, 墨, 晴空, 婴儿, 电光, 科技, 深空, 青花瓷",
    "purple": "grape, plum, lavender, lilac, violet, aubergine, eggplant, amethyst, wisteria, iris, "
              "orchid, 葡萄, 茄, 茄子, 薰衣草, 丁香, 紫罗兰, 紫藤, 罗兰, 香芋, 紫薯, 芋泥, 桑葚, 蓝莓, 梦幻",
    "pink": "rose, salmon, cherry blossom, blossom, candy, candyfloss, cotton candy, bubblegum, coral, "
            "玫瑰, 樱花, 桃花, 桃, 蜜桃, 荷花, 藕, 珊瑚, 芭比, 少女, 猛男, 泡泡糖, 棉花糖, 三文鱼",
    "brown": "chocolate, coffee, caramel, cinnamon, cocoa, chestnut, walnut, mahogany, wood, bark, "
             "tree bark, mud, earth, hazelnut, oak, cardboard, 巧克力, 咖啡, 焦糖, 板栗, 栗, 栗子, 树皮, "
             "树干, 木头, 木, 原木, 牛皮纸, 可可, 茶, 红木, 胡桃, 胡桃木, 肉桂, 琥珀, 奶茶",
    "black": "coal, jet, pitch, midnight, night, raven, ink, blackboard, tar, onyx, soot, obsidian, 煤炭, "
             "煤, 炭, 木炭, 墨, 墨汁, 墨水, 夜, 黑夜, 午夜, 深夜, 深空, 太空, 乌鸦, 锅底, 碳, 曜石, "
             "黑曜石, 石墨",
    "white": "snow, milk, ivory, pearl, chalk, bone, porcelain, vanilla, cotton, linen, cream, 雪, 雪地, "
             "雪山, 牛奶, 奶, 象牙, 珍珠, 粉笔, 云, 米, 瓷, 梨花, 豆腐, 羊脂, 棉花, 乳",
    "gray": "ash, slate, stone, steel, smoke, charcoal, cement, concrete, storm, silver, lead, iron, fog, "
            "岩石, 水泥, 铅, 铁, 钢, 鼠, 鸽, 雾, 炭, 银, 混凝土, 深空, 太空",
    "cyan": "turquoise, lagoon, 松石, 绿松石",
}
ENDINGS = {
    "red": "red, 红", "orange": "orange, 橙, 橘", "yellow": "yellow, 黄, 金", "green": "green, 绿",
    "blue": "blue, 蓝", "purple": "purple, 紫", "pink": "pink, 粉", "brown": "brown, 棕, 褐",
    "black": "black, 黑", "white": "white, 白", "gray": "gray, grey, 灰", "cyan": "cyan, 青",
}
HUES = "红橙橘黄金绿蓝紫粉棕褐黑白灰青"      # the last character of a Chinese compound
# before any Chinese colour of one character
QUALITIES = "深 浅 淡 亮 暗 鲜 纯 嫩 艳 正 浓 粉 柔 哑光 荧光 普通 复古 莫兰迪 奶油 渐变".split()


def split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]


@cache
def lenders() -> dict[str, str]:
    """Every noun known for its colour -> the colour; the first, if it is known for several."""
    return {noun: colour for colour, nouns in reversed(NOUNS.items()) for noun in split(nouns)}


@cache
def shades() -> dict[str, str]:
    """Every shade -> its colour. A name in a table of its own counts before a compound."""
    table: dict[str, str] = {}
    for colour, endings in ENDINGS.items():
        for ending in split(endings):
            if ending.isascii():
                nouns = [f"{noun} " for noun in split(NOUNS[colour]) if noun.isascii()]
            else:
                nouns = [noun for noun in split(NOUNS[colour]) if not noun.isascii()] + QUALITIES
            table |= {noun + ending: colour for noun in nouns}
    return table | {name: colour for colour, names in ALSO.items() for name in split(names)}
