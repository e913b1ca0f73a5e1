"""Guarded least squares, line searches, and the limited-memory quasi-Newton recursion."""
