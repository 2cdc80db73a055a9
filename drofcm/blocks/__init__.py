"""Canonical matrices of two-stage programs and the way back to labels."""
