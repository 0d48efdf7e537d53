"""Training: the batch of a step, the losses, the loop, checkpoints, several processes.

Reading order: recipe, batches, stage_vae, stage_tokenizer, stage_glyph, stage_planner, stage_decoder,
optimisers, loop, checkpoint, run; stage_finetune and finetune, for a person's own pictures; then lanes, ranks
and sharding, for several processes.
"""
