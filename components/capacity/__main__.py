"""Writes docs/capacity.md: `python -m components.capacity > docs/capacity.md`."""

from components.capacity.document import document

print(document(), end="")
