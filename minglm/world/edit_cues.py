"""Words by which an instruction tells what it wants done: take away, put in place of, write as well.

They are looked for outside quotations. What only says that the rest stays is set aside first.
"""

from __future__ import annotations

import re


def cue(english: str, chinese: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{english})\b|{chinese}", re.IGNORECASE)


REST = re.compile(
    r"\b(?:and |but |please )*"
    r"(?:(?:do not|don['’]?t|never) (?:touch|change|move)|without (?:touching|changing)) "
    r"(?:the |my |that |this )(?:\w+ )?\w+|"
    r"\b(?:and |but )?(?:leave|keep) (?:the |my |that |this )\w+ "
    r"(?:where|as) (?:it|they) (?:is|are|was|were)\b|"
    r"\b(?:and |but )?(?:the \w+|(?:the )?\w+ (?:one|line)) "
    r"(?:can stay|stays|may stay|remains|(?:alone )?is enough)\b|"
    r"光有\w{1,3}就[好行够]了?|[上下]面?的[字行]?(?:保留|不变|不动|别动|留着)|"
    r"(?:背景|底色)(?:都|就|还是)?(?:不变|不动|不要动|别动|不要改|别改|不改|不用动)|"
    r"(?:不要改|别改|别动|不要动|不改)(?:背景|底色)|"
    r"\b(?:(?:but |and )?(?:keep|leave|don['’]?t (?:touch|change)|do not (?:touch|change)) "
    r"(?:all |everything |the )?(?:else|rest|other \w+|"
    r"(?:texts?|words?|writing|lettering|letters|title)(?= (?:as|alone|unchanged|the same)\b))"
    r"(?: as (?:it|they) (?:is|are|was|were)| alone| unchanged| the same)?|"
    r"(?:the rest|everything else|all else) (?:stays|is (?:fine|good)|remains|can stay)"
    r"(?: as it is| the same| unchanged)?|(?:change )?nothing else|no other changes?)\b|"
    r"(?:其他|其余|其它|别的|剩下)的?(?:地方|部分)?(?:都|就)?"
    r"(?:不变|不动|不要动|别动|别改|不改|保留|保持\w{0,4}|都好|不用动)|"
    r"(?:文字|字|标题)(?:都|就|还是)?(?:不变|不动|不要动|别动|不要改|别改|不改|不用动)|"
    r"只改这(?:里|个|一处)|就改这个|保持原样(?=[。！!~]?$)", re.IGNORECASE)
REMOVE = cue(
    r"remove|delete|erase|get rid of|leave out|leaving out|drop|wipe|clear|cut|lose|without|away with|"
    r"disappear|no more|no need for|take (?:\S+ ){0,6}?(?:away|off|out)|ditch|scrap|kill|omit|throw out|hide|"
    r"no (?:texts?|words?|writing|letters|lettering|title|caption)|"
    r"(?:should|can|must|has to|have to|could) go(?! (?:\w+ )?"       # but it should go below the cat
    r"(?:to|on|at|in|up|down|left|right|top|below|above|under\w*|beneath|over|next)\b)|"
    r"(?:do not|don['’]?t|doesn['’]?t) (?:want|need)",
    "去掉|去除|删|擦|移除|清除|清掉|抹掉|拿掉|拿走|拿开|消失|不要|不需要|不用|别写|别画|别有|没有|没了|"
    "不想要|少画|少写|取消|无字|没字")
REPLACE = cue(
    r"instead|in (?:the )?place of|replac\w*|swap\w*|substitut\w*|rather than|exchang\w*|trade\w*|rewrit\w*|"
    r"chang\w*|turn|edit|switch|convert|into|prefer|becomes?|no longer|not",
    "换|改|代替|替|变成|变为|不是|不要|不再|应该是|→")
SWAPS = cue(r"instead(?! of)|replac\w*|swap\w*|exchang\w*", "换")
EXCEPT = cue(r"(?:everything|all|anything)(?: else)? (?:but|except|apart from|other than)",
             "除了[^，。]{1,6}(?:都|全)")
# what says what to do, in a clause of its own
MAKES = cue(r"make|makes|put|move|write|draw|shift|place|bring|set|paint|show|print|keep|want",
            "移|放|挪|写|画|变|要|用|留")
# of one that is meant and not named: make it a dog, make them dogs
INTO = cue(r"make (?:it|them|this|that|these|those|everything)", "都换|全换")
SAYS = cue(r"says?|saying|reads?|new text|the text should|text(?=:)|wrong|"
            r"make the (?:text|words?|title|caption)|should be|must be",
           "应该写|要写|写成|写错|新的文字|文字：|文字:|就行")
ADD = cue(
    r"add\w*|also|too(?! \w)|as well|includ\w*|insert\w*|plus|another|more|additional|extra|missing|"
    r"company|next to|beside|alongside|give",
    r"加|添|还要|还想|还有|再(?![改换见说把将移删去])|补|配(?=[上一两三几个根只条朵张颗串把匹头辆])|另外|旁边|边上|身边|"
    r"伴|除了|(?<!不)多了|多画|少了|印上|写上|放上|\+")
# of a number: so many more, or so many less
MORE = cue(r"another|more|extra|additional|add",
           "再(?![改换见说把将移删去])|多画|多加|还要|加|添|(?<!不)多了")
LESS = cue("less|fewer", "少(?!了)|减")
# all that is there
ALL_OF = cue(r"both|all|animals?|creatures?|fruits?|objects?|things?", "动物|东西|水果|都|全")
ONLY = cue(r"only|just|keep|leave", "只|就够|太多|留")
BESIDE = cue(r"next to|beside|alongside|near|company|together with|as well|also|too(?! \w)",
             "旁边|边上|身边|伴|除了|还要|还有|(?<!不)多了")
GROUND = cue(r"backgrounds?|backdrop|bg|behind|backround|ground|sheet", "背景|底色|底图|底子|后面的颜色")
LETTERS = cue(
    r"texts?|words?|writing|lettering|letters|lines?(?! (?:drawing|art))|titles?|captions?|slogan|headline",
    "文字|字|标题|文本|这行|那行|一行|两行")
ON_IT = re.compile("的(?:文字|字|文本|标题)")
EVERY = cue(r"all|every|whole|everything", "所有|全部|全都|都")
KEEP = cue(
    r"(?:the|this|that|these|those) (?:very )?same|exactly (?:the|this|that)|again|"
    r"keep (?:the|this|that|these|those|both|all)|only (?:the|this)|just (?:the|this)",
    "保留|只留|照着|还用|用[^，。]{1,9}做一张|不变|别变|仍然|还是(?=这|那|同)|保持原样|一模一样|同一")
NOT = re.compile(r"\bnot (?:the |that |those )?$|不是(?:[要把换改]|要换|要改)?$", re.IGNORECASE)
RATHER = re.compile(r"一些(?=$|[，。！？；、])")   # a little more: 好一些
ALONE = cue(r"(?:only|just) (?:the|this|that|keep|leave|want|need)|(?:keep|leave|want|need) (?:only|just)|"
            r"nothing but", "只要|只留|只剩|只保留|单独|单留")
OTHERS = cue(r"others?|rest|else", "另|其他|其余|别的")
BETWEEN = cue("between", "之间|中间")
MOVES = cue(r"mov\w+|shift\w*|slid\w+|push\w*|drag\w*", "移|挪|放到|摆到|搬")
# words that nobody quotes: write Happy Birthday on it
WRITES = cue(r"(?:write|print)(?! (?:it|them|this|that|these|those|in)\b)|caption|label", "写")
# between a word for more and what there is more of
OF_IT = re.compile(r"(?:\s+(?:of|the|a|an|one|two|three|more|extra|third|second|[23]|little|big|small|such|"
                   r"those|these))*\s+|.{0,5}", re.IGNORECASE)
WANTS = cue(r"only|just|keep|leave|want|stays?", "只|要|留")
# which of several texts
FIRST = cue(r"first|upper|uppermost|topmost|1st", "第一[行句个排]|最上|上一?[行句]|上排")
LAST = cue(r"last|lower|lowest|second|2nd|bottommost",
           "最后一?[行句个排]|最下|第二[行句个排]|下一?[行句]|下排")
# over or under an object, where a text is to stand
THE = r"\s+(?:(?:the|this|that|both|all|my) )*(?:\w+ )?$"
OVER = re.compile(rf"\b(?:over|above|on top of){THE}", re.IGNORECASE)
UNDER = re.compile(rf"\b(?:under|underneath|below|beneath){THE}", re.IGNORECASE)
OVER_ZH = re.compile("的?正?[头顶]?上[面方边头]?")
UNDER_ZH = re.compile("的?正?[脚底]?下[面方边头]?")
# an object put on another ground, and nothing else with it: put this cat on a blue background
ELSEWHERE = re.compile(
    r"\b(?:put|show|place|take|draw|use|paint|make a poster of|set)\b.*\b(?:on|against|onto) (?:an? |the )?"
    r"(?:\w+ ){0,2}?(?:background|backdrop|poster|sheet|ground)\b", re.IGNORECASE)
# before the place of an object, with no quotation between
PUT = re.compile(
    r"(?:移到|放到|放在|挪到|移至|[放在]|"
    r"(?:\b(?:move|put|place|shift|again)\b[^.\"“”「」『』‘’]*?|,)\s"
    r"(?:to|on|at|in)(?: the)?(?: very| far)? ?)$", re.IGNORECASE)
POSTER = cue(r"the same (?:poster|picture|image)", "还是这张(?:海报|图)|同一张|这张(?:海报|图)不变")
UP, DOWN = cue(r"up|upwards?|higher", "往上|向上|靠上"), cue(r"down|downwards?|lower", "往下|向下|靠下")
STYLES = {
    "outline": cue(r"outlines?|outlined|line[- ](?:drawing|art)|sketch\w*|contours?|"
                   r"pencil (?:drawing|outline)|black lines", "线稿|线条|轮廓|线描|勾线|素描|简笔"),
    "pixel art": cue(r"pixel\w*|8[- ]?bit|16[- ]?bit", "像素|马赛克|8位"),
    "inverted": cue(r"invert\w*|negative|opposite colou?rs?|flip the (?:palette|colou?rs)|colou?rs? around|"
                    r"every colou?r for its opposite", "反色|反相|负片|底片|取反|反转|反过来|颠倒颜色"),
}
# around an orange that is a fruit
ONE = re.compile(r"\b(?:an|one|another|the) $", re.IGNORECASE)
ENDS = re.compile(r"(?: (?:instead|in place|in the place|rather|and not|not|but not|next to|beside|too|"
                  r"as well|also|please|to it|on it|on the (?:left|right)|at the|with|should|can|must)\b|"
                  r"[,.!?;]|$)", re.IGNORECASE)
ORDINAL = re.compile(
    r"\b(?:the )?(first|second|third|fourth|1st|2nd|3rd|4th)(?: (?:picture|image|poster|photo|one|pic))?\b|"
    r"\b(?:picture|image|poster|photo|pic) ?#?([1-4])\b|第([一二三四1-4])(?:张|幅|个)?(?:图片|图|海报|画)?|"
    r"图片?([1-4一二三四])", re.IGNORECASE)
NUMBERS = {"first": 0, "1st": 0, "second": 1, "2nd": 1, "third": 2, "3rd": 2, "fourth": 3, "4th": 3,
           **{c: i for i, c in enumerate("1234")}, **{c: i for i, c in enumerate("一二三四")}}
