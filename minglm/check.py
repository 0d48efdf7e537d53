"""Self-checks of the course's exercises, all in one place:

    from minglm import check
    check.grouped_attention(my_attention)

They are written in check_tokens (notebooks 01 to 04), check_planner (05, 06), check_decoder (07, 08), check_writing
(00, 09, 10), check_npu (13) and check_real (14), on the machinery of minglm.answers.
"""

# ruff: noqa: F401
from minglm.answers import Wrong
from minglm.check_tokens import (
    ask, count_tokens, encode, merge, nearest, patches, pca, perplexity, prompt_layout, psnr, readable,
    set_poster, straight_through)
from minglm.check_planner import (
    causal_mask, grid_positions, grouped_attention, legal_ids, next_targets, rotation, top_p, weighted_loss)
from minglm.check_decoder import (
    euler, guidance, modulate, patchify, rotary_2d, sigma_shift, straight_path, upsample_ids)
from minglm.check_writing import (
    edit_distance, glyph_attention, glyph_ids, greedy_plan, move_right, noise_of_seeds, relative_buckets,
    word_accuracy)
from minglm.check_npu import clip, fused_mask, shard, time_features
from minglm.check_real import planner_size, roofline
