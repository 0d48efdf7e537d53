"""From a prompt to a picture.

Reading order: plan, paint, sources, pipeline; then as_published, the published code's quirks.
"""
