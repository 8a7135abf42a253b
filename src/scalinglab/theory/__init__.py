"""Controlled studies: one idea of the theory course each, variants compared by paired seeds. No paths here."""
