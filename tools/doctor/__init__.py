"""How the whole stack is, for people and for scripts: `python -m tools.doctor`."""
