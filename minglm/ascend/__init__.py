"""Ascend without a card: a simulator that is strict about devices, dtypes and operators, and models of launch
overhead and memory.

Reading order: counters, simtensor, kernels, simulator, launches, fake_card, memory. Nothing here has been run on a card.
"""
