"""The inputs of a training, how they are drawn from, and images as rows."""
