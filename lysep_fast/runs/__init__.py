"""A run of `lysep_fast.train`: how it is set up, for how many sweeps, and how it is finished."""
