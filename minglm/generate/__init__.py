"""From a prompt to a picture.

Reading order: prefill, plan, paint, known_ids, expected, best, sources, legible, request, leading,
candidates, adapters, pipeline; then as_published, the published code's quirks.
"""
