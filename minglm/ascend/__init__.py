"""Ascend without a card: a strict simulator of devices, dtypes and operators; models of launches and memory.

Reading order: counters, generators, simtensor, kernels, simulator, launches, fake_card, steps, memory.
Nothing here has been run on a card.
"""
