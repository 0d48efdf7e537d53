"""What people say to have a picture edited, in Chinese: the patterns of which instructions_zh.py is made.

The fields are those of edit_phrases_en.py, but for {w}, where something new stands, and {u}, its colour,
which come before it in Chinese. A pattern of DO begins with a verb, so that it can be asked for politely.
"""

from __future__ import annotations

DO = {
    "background": """把背景换成{c} 把背景改成{c} 把背景变成{c} 将背景改为{c} 把背景颜色换成{c}
        把底色换成{c} 换个{c}背景 换成{c}背景 换一个{c}的背景 把背景涂成{c} 把{b}背景换成{c}
        把背景变成{c}的 给它换{c}背景 用{c}做背景 把整个背景填成{c} 把背景从{b}改成{c} 把底色改成{c}的
        将{b}背景替换为{c} 把背景弄成{c}""".split(),
    "recolour text": """把{t}改成{c} 把{t}的颜色改成{c} 把{t}变成{c} 用{c}写{t} 把{t}涂成{c} 将{t}改为{c}
        把{t}换成{c}的 给{t}换成{c} 把{t}颜色换成{c} 把{t}弄成{c}的 将{t}的颜色换为{c}""".split(),
    "replace text": """把{t}改成{q} 把{t}换成{q} 将{t}改为{q} 把{t}替换成{q} 用{q}代替{t} 把{t}改写成{q}
        把{t}变成{q} 改成{q} 换成{q} 改写{q} 写成{q} 将{t}替换为{q} 把{t}换掉，写{q}
        去掉{t}，写上{q}""".split(),
    "add text": """{w}加上{u}{q} {w}写上{u}{q} {w}加{u}{q} {w}加一行{u}{q} {w}再写{u}{q} {w}添上{u}{q}
        {w}印上{u}{q} 加上{u}文字{q} 把{q}写在{p} 加一句{q} {w}补上{u}{q} {w}加个标题{q} 把{u}{q}放在{p}
        {w}写{u}{q}""".split(),
    "remove text": """去掉{t} 删掉{t} 把{t}去掉 把{t}删掉 删除{t} 擦掉{t} 把{t}擦掉 去除{t} 移除{t}
        把{t}拿掉 清除{t} 将{t}删除 抹掉{t} 把{t}清掉""".split(),
    "move text": """把{t}移到{p} 把{t}放到{p} 把{t}挪到{p} 将{t}移至{p} 把{t}写到{p} 把{t}换到{p}
        把{t}调到{p} 把{t}放在{p} 让{t}到{p}去 将{t}放到{p}""".split(),
    "translate text": """把{t}翻译成{l}{r} 把{t}译成{l}{r} 把{t}换成{l}{r} 把{t}改成{l}{r}
        将{t}译为{l}{r} 用{l}写{t}{r} 把{t}变成{l}的{r} 翻译{t}{r}
        将{t}翻译为{l}{r} 把{t}翻成{l}{r}""".split(),
    "swap object": """把{o}换成{n} 把{o}改成{n} 将{o}替换为{n} 用{n}代替{o} 把{o}变成{n}
        把{o}去掉，换成{n} 画{n}代替{o} 把{o}换掉，画{n} 拿{n}换掉{o} 将{o}换为{n}""".split(),
    "move object": """把{o}移到{p} 把{o}放到{p} 把{o}挪到{p} 将{o}移至{p} 把{o}画到{p} 把{o}换到{p}
        把{o}放在{p} 让{o}到{p}去 把{o}摆到{p}""".split(),
    "add object": """{w}加{n} {w}加上{n} {w}再加{n} {w}画{n} {w}再画{n} {w}添{n} {w}放{n} 多画{n}
        在{x}旁边加{n} 在{x}边上画{n} 给{x}找个伴，加{n} 再放{n}""".split(),
    "remove object": """去掉{o} 删掉{o} 把{o}去掉 把{o}删掉 删除{o} 擦掉{o} 移除{o} 把{o}拿掉 将{o}删除
        让{o}消失 把{o}拿走 把{o}擦掉""".split(),
    "recount object": """改成{k} 变成{k} 把{m}改成{k} 把{m}变成{k} 画{k} 再加{more} 再画{more} 多画{more}
        去掉{less} 拿掉{less} 少画{less} 只留{k} 只画{k} 换成{k} 将{m}改为{k} 擦掉{less}""".split(),
    "restyle": """改成{s} 变成{s} 做成{s} 转成{s} 画成{s} 把它改成{s} 把整张海报变成{s} 把图改成{s}
        重新画成{s} 换成{s} 把整张图转成{s} 处理成{s}""".split(),
}
SAY = {
    "background": """背景换成{c} 背景改成{c} 背景改{c} 背景变{c} 背景用{c} 底色改{c} 背景要{c}
        背景要{c}的 我想要{c}背景 {c}背景 背景：{c} 背景不要{b}，要{c} 不要{b}背景，要{c}的 {c}背景更好看
        背景还是{c}好 背景{c} {b}背景改{c} 底色要{c} 背景应该是{c}的 背景颜色：{c}""".split(),
    "recolour text": """{t}改成{c} {t}换成{c} {t}用{c} {t}要{c} {t}要{c}的 {t}：{c} {t}应该是{c}的
        我想要{t}是{c}的 {t}用{c}更好 {t}换{c} {t}颜色换{c} {t}变{c}""".split(),
    "replace text": """{t}改成{q} {t}换成{q} {t}改为{q} {t}应该是{q} 不是{t}，是{q} 不要{t}，要{q}
        {t}→{q} {t}->{q} 应该写{q} 要写{q} 新的文字：{q} 写错了，应该是{q} 写{q}就行 {t}写错了，是{q}
        文字换成{q} 文字：{q}""".split(),
    "add text": """{w}还要有{u}{q} {w}还要写{u}{q} 还要{u}{q} {w}少了{q} {p}：{q} {w}应该有{u}{q}
        {q}写在{p} {q}放{p} 还想要{u}{q} 另外{w}写{u}{q}""".split(),
    "remove text": """不要{t} 不要{t}了 {t}不要了 {t}不需要 别写{t} {t}可以去掉 没有{t}更好 我不想要{t}
        {t}去掉 {t}删了""".split(),
    "move text": """{t}移到{p} {t}放{p} {t}应该在{p} {t}在{p}更好 {t}要在{p} 我想让{t}在{p} {t}到{p}去
        {t}换到{p} {t}放到{p}""".split(),
    "translate text": """{t}翻译成{l}{r} {t}要{l}的{r} {t}应该用{l}{r} {t}改用{l}{r} {t}写{l}{r}
        {t}要用{l}{r} {t}换{l}{r} 不要{f}，{t}用{l}{r}""".split(),
    "swap object": """{o}换成{n} {o}改成{n} 不要{o}，要{n} {o}不要了，换{n} 不是{o}，是{n} 要{n}，不要{o}
        {o}→{n} 应该是{n}，不是{o} {o}换{n}""".split(),
    "move object": """{o}移到{p} {o}放{p} {o}应该在{p} {o}要在{p} {o}在{p}更好 我想让{o}在{p} {o}到{p}去
        {o}放到{p} {o}挪{p}去""".split(),
    "add object": """{w}还要有{n} {w}还要{n} 再来{n} {w}少了{n} 还想要{n} {x}旁边要有{n} 除了{x}还要{n}
        {p}：{n} 应该还有{n}""".split(),
    "remove object": """不要{o} 不要{o}了 {o}不要了 {o}不需要 别画{o} {o}可以去掉 没有{o}更好 我不想要{o}
        {o}去掉 {o}删了""".split(),
    "recount object": """要{k} 应该有{k} 不要{m}，要{k} 不是{m}，是{k} 再来{more} 还要{more} 只要{k}
        {k}就够了 有{k}才对 {m}不够，要{k} {m}太多了，要{k} {m}改成{k}""".split(),
    "restyle": "要{s} 要{s}的 我想要{s} {s}效果 {s}的效果 来个{s} 想看{s} 能是{s}就好了".split(),
}
STYLED = {"outline": "线稿 线条画 轮廓图 黑白线稿 铅笔线稿 线描 勾线的样子".split(),
          "pixel art": "像素画 像素图 像素风 像素风格 8位像素画 大像素的样子".split(),
          "inverted": "反色 负片 反相 反色的样子 底片".split()}
INVERT = "反色 把颜色反过来 颜色反转 把所有颜色取反 把颜色全部反转 反转配色 来个反相 把配色反过来".split()
ASK = ("{x}",) * 14 + tuple("""请{x} 请{x} 请你{x} 麻烦{x} 麻烦你{x} 帮我{x} 帮我{x} 请帮我{x} 帮忙{x}
    能不能{x}？ 能{x}吗？ 可以{x}吗？ 可不可以{x}？ 给我{x} {x}吧 {x}吧 我想{x} 我要{x} 在图上，{x}
    这张图，{x} 最好{x} {x}好吗？ {x}行吗？ {x}可以吗？ 劳驾{x} 直接{x} 就{x}吧 先{x} 你{x}""".split())
BEFORE = """你好 您好 在吗 嗯 不错 挺好的 还有一点 最后改一下 再改一下 小改动 差不多了 老师说 老板说 好的
    对了 我改主意了 打扰了 还差一点 修改意见 图收到了""".split()
THANKS = "谢谢 多谢 谢谢啦 辛苦了 就这样 尽快 拜托了 急用 明天要用 麻烦了 感谢".split()
REST = """其他不变 其余不动 别的不要动 其他的都保留 只改这里 其他地方别动 剩下的不变 就改这个 其他都好
    别的别改 其它保持原样""".split()
WHOLE = "所有文字 文字 字 全部文字 所有的字 文字全部 所有字".split()
ONLY = "文字 文字 字 上面的字 这些字 图上的字 这行字".split()
NAMED = ("{q}",) * 6 + ("文字{q}", "{q}这几个字", "写着{q}的字", "{q}那行字")
PICTURES = "第{z}张图 第{z}张图 第{z}张 图{i} 图{z} 图片{i} 第{z}张图片 第{z}幅 第{i}张图 第{z}张海报".split()
ORDINALS = "一二三四"
COMBINE = """把{i}放到一张海报上 把{i}放在一起 用{i}做一张海报 把{i}合在一起 把{i}组合起来
    做一张海报，要{i} 拼一张：{i} 把{i}拼在一起 画一张海报：{i} 取{i}做成一张图""".split()
COMBINED = "{i} 我要{i} 一张海报：{i} 新海报，{i} 想要{i} 海报上要{i}".split()
KEEP = "保留{o}，{w} 用{o}做一张新的，{w} 照着{o}再画一张，{w} 还用{o}，{w} 只留{o}，{w}".split()
KEPT = "{o}不变，{w} {o}，{w} {o}别变，{w} 仍然是{o}，{w} {o}保持原样，{w} 一模一样的{o}，{w}".split()
ELSEWHERE = "换成{c}背景 放到{c}背景上 背景用{c} 背景是{c}的 背景换成{c} 改成{c}背景".split()
