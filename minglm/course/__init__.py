"""The course: checks of its exercises, tools for teachers, and a place to play.

Reading order: answers, check_00 to check_14 (one per notebook), notebooks, teacher, classroom; play, buttons,
panel, playground.
"""
