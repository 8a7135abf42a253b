"""Scaling laws from a table of cells: the parametric surface, iso-FLOP minima, intervals. Arrays in, numbers out."""
