"""Networks, results, estimators and solutions as dicts of a header and arrays, and back."""
