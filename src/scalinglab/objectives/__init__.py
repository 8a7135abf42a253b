"""What a model is asked to predict, by name: the next token, hidden ones, or spans. No paths here.

Tensor names as in model/, with N tokens a row; rows are those of the mixture, N = T + 1.
"""
