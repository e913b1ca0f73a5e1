"""Parts that the solvers share: parameters, passes, metric, direction, working set, averaging."""
