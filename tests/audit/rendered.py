"""Every object that the checked-in stacks would apply, as YAML: `python -m tests.audit.rendered FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.policy.objects import is_patch, objects
from tests.policy.program import program
from tests.support.manifests import STACKS, to_yaml


def main() -> None:
    for stack in STACKS:
        whole = [each for each in objects(program(stack)) if not is_patch(each)]
        Path(sys.argv[1], f"{stack}.yaml").write_text(to_yaml(whole))


if __name__ == "__main__":
    main()
