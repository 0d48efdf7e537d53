"""What is read of a prompt, as the tests of the reader compare it."""

from minglm.world.reading import read


def counts(prompt):
    return {group.thing: group.count for group in read(prompt).groups}


def colours(prompt):
    """The colour of the background, and that of each text."""
    asked = read(prompt)
    return asked.background, [one.colour for one in asked.texts]
