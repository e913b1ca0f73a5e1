"""Model files and checkpoints: one container without pickle, and what is kept in it."""
