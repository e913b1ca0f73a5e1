"""Tables as they come: files into frames of pandas, and frames into columns of numbers."""
