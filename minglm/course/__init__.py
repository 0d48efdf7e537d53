"""The course: checks of its exercises, and tools for teachers.

Reading order: answers, check_00 to check_14 (one per notebook), notebooks, teacher, classroom.
"""
