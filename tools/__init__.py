"""Tools for work on the package, run in a checkout as ``python -m tools.NAME``; none is installed.

torture          what docs/reliability.md promises, by the thousand
api_reference    writes docs/api.md
fit_polynomials  the tables of the kernels
"""
