"""Tests of the measured questions."""
