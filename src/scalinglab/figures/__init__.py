"""Figures: each module draws one, and registry.py lists those of a study. What they share stands in style.py."""
