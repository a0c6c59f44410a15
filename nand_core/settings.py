"""The base of every settings model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen and validated; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
