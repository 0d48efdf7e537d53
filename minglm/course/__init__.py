"""The course: checks of its exercises, and what a teacher needs.

Reading order: answers, check_00 to check_14 (one a notebook), classroom.
"""
