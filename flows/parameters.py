"""Types of the deployments' parameters: Prefect refuses other values before a run is made."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Name = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=100)]
"""Of a remote or tag; may be empty. It names no path and cannot be taken for an option."""

ClassName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]+$", min_length=1, max_length=100)]
"""A class of the data set; it names no path."""

Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$", min_length=1, max_length=200)]
"""A text or phrase, one line."""

Address = Annotated[str, Field(pattern="^(https?://|$)")]
"""Of a page; may be empty."""

Hours = Annotated[float, Field(gt=0, le=168)]

Seconds = Annotated[float, Field(ge=0, le=3600)]
