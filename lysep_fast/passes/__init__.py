"""Passes of data through a network: over all samples by blocks, and over one mini-batch."""
