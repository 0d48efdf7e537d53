"""The networks, and the text and prompt formats they read. This wing knows nothing of posters or training.

Reading order: bpe, spelling, prompt, ops, rotary, layers, vae, tokenizer, copying, planner, glyph, memory,
decoder, flow, weights; sde (the flow's stochastic sampler); lora, lora_files (adapters) and editing (those
that edit); then autoencoder (the released VAE) and ops_cpu (hand-written gradients, which may be skipped).
"""
