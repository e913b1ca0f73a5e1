"""What training was asked for: frozen settings, checked once, which checkpoints compare."""
