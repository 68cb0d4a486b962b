"""The images that a stack runs, a name and a reference in each line: `python -m tools.images STACK`."""

from __future__ import annotations

import sys

from components.observability.scanned_images import scanned_images
from components.settings.parse import parse
from components.settings.stack_file import plain_values


def main() -> None:
    for name, reference in scanned_images(parse(plain_values(sys.argv[1]))).items():
        print(name, reference)


if __name__ == "__main__":
    main()
