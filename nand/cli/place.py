"""Commands work in the project above the folder in which they were typed; what they name lies where it was typed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from nand.project.place import project_above


class InProject(TyperCommand):
    """A command that goes to the project's folder once its arguments are read."""

    def invoke(self, ctx: Any) -> Any:
        """What the command returns."""
        if found := project_above():
            os.chdir(found)
        return super().invoke(ctx)


def typed(value: str | Path) -> Path:
    """A path that was typed here, seen from the project's folder; a default, which is a Path, is the project's."""
    if isinstance(value, Path) or os.path.isabs(value):
        return Path(value)
    project = project_above()
    return Path(os.path.relpath(value, project) if project else value)
