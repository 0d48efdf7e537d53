"""An Ascend card without one: a simulator that is strict about devices, dtypes and operators, and models of its host.

Reading order: counters, simtensor, kernels, simulator, launches, memory. Nothing here has been run on a card.
"""
