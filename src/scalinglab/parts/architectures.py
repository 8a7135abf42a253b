"""Runs of a decoder, an encoder and both; as those of objectives, one part a variant."""

from scalinglab.parts.objectives import Settings, measure_part, parts

__all__ = ["Settings", "measure_part", "parts"]
