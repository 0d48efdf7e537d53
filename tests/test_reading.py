"""Reading against what is known: the free captions of training posters."""

from collections import Counter

from minglm.world.draw import draw
from minglm.world.reading import read


def test_free_captions_are_read_as_they_were_meant():
    wrong = Counter()
    for i in range(600):
        poster = draw("read", i, told=0.0)
        asked = read(poster.caption)
        wrong["objects"] += {(g.thing, g.count) for g in asked.groups} != {(g.thing, g.count) for g in poster.groups}
        wrong["background"] += asked.background not in (None, poster.background)
        colours = {region.text: region.colour for region in poster.regions}
        wrong["colours"] += any(one.colour not in (None, colours.get(one.text, one.colour)) for one in asked.texts)
    assert wrong["objects"] <= 3 and wrong["background"] <= 6 and wrong["colours"] <= 5
