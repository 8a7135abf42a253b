"""A readable decoder whose parts are chosen by name: norms, positions, attention, feed-forward.

Tensor names carry shapes: B batch, T positions, D width, H heads, K head size, F hidden width, V vocabulary.
"""
