"""Tests of what is measured of parametrisations."""
