"""The networks, and the text and prompt formats they read. Knows nothing of posters or of training.

Reading order: bpe, prompt, ops, layers, vae, tokenizer, planner, glyph, decoder, flow, weights; then autoencoder
(the released VAE) and ops_cpu (gradients by hand, which may be skipped).
"""
