"""Training: what a step sees, what is minimised, the loop, checkpoints, several processes.

Reading order: recipe, batches, stage_vae, stage_tokenizer, stage_planner, stage_decoder, optimisers, loop, checkpoint,
run; then ranks and sharding, for several processes.
"""
