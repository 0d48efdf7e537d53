"""From a prompt to a picture.

Reading order: plan, paint, best, sources, request, adapters, pipeline; then as_published, the published
code's quirks.
"""
