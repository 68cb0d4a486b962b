"""Keeps new pods off nodes whose GPUs are sick."""
