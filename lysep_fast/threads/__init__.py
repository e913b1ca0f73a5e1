"""A team of threads over fixed sample blocks, and BLAS held at one thread while it works."""
