"""From a prompt to a picture.

Reading order: prefill, plan, paint, best, sources, legible, request, known_ids, leading, candidates,
adapters, pipeline; then as_published, the published code's quirks.
"""
