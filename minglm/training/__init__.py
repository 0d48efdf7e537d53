"""Training: the batch of a step, the losses, the loop, checkpoints, several processes.

Reading order: recipe, batches, stage_vae, stage_tokenizer, stage_glyph, cooccurrence, stage_planner,
guessed, stage_decoder, stage_order, optimisers, loop, checkpoint, stages, run; references and stage_edit, for
editing; stage_finetune and finetune, for a person's own pictures; grpo, stage_grpo_planner and
stage_grpo_decoder, for reinforcement learning; then lanes, ranks and sharding, for several processes.
"""
