"""Measuring a trained model: loss on held-out text and accuracy on in-context tasks. Tensors in, numbers out."""
