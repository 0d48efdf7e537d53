"""The course: checks of its exercises, tools for teachers, and a place to play.

Reading order: answers, own, check_00 to check_16 (one per notebook), twins, edit_twins, muddled (for 02, 05),
astray (for 03, 04), slipped (for 07, 08), derailed and pieces (for 10), mistaken (for 11), played (for 13,
16), notebooks, grading, carry, words (of the teacher's page), teacher, classroom; play, buttons, panel,
playground.
"""
