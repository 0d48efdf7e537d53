"""Training: the batch of a step, the losses, the loop, checkpoints, several processes.

Reading order: recipe, batches, stage_vae, stage_tokenizer, stage_glyph, cooccurrence, stage_planner,
stage_decoder, optimisers, loop, checkpoint, run; then lanes, ranks and sharding, for several processes.
"""
