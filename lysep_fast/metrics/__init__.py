"""Metrics of a step: layer Gram matrices, trust region, and moving averages."""
