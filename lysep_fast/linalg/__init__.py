"""Guarded linear least squares and monotone backtracking."""
