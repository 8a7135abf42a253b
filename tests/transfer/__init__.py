"""Tests of what a model takes from stored text, another model, or little text."""
