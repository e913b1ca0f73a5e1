"""Metrics of a step: layer Gram matrices, polar factors, trust region, and moving averages."""
