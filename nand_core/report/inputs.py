"""What a report is made of: tables, maps and prompts that the earlier stages wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from nand_core.artifacts.verified import verified
from nand_core.errors import NandError
from nand_core.normalities import known_groups
from nand_core.settings import EvaluationSettings


@dataclass(frozen=True)
class ReportInputs:
    """Everything the report is computed from.

    Attributes:
        manifest: one row an image; ``data_root`` holds its paths.
        artifacts: folder with ``base_maps/<detector>/<class>.npz`` and ``suppression/<class>/<group>.npz``.
        auroc, scores: the tables of ``nand_core.protocol``, in percent and in the maps' unit.
        operating: the table of ``nand_core.operating``, in percent; None leaves the operating points out.
        examples: the table of ``nand_core.example_protocol``, in percent; None or empty leaves it out.
        prompts: the prompt set of each class and group, as in ``prompts/<class>/<group>.json``.
        dataset_kind: ``mvtec_ad`` shows the paper's numbers where its groups were run.
        evaluation: the settings that the tables were computed with.
        facts: what was run, as label -> text ("Encoder" -> "...").
        notes: statements that a reader must see first (that the images are generated, for instance).
        digests: the sha256 of files among these, by their paths: no other content of them is shown.
        unknown_words: words of (class, group)'s phrases that the text tower does not know.
    """

    manifest: pd.DataFrame
    data_root: Path
    artifacts: Path
    auroc: pd.DataFrame
    scores: pd.DataFrame
    operating: pd.DataFrame | None = None
    examples: pd.DataFrame | None = None
    prompts: Sequence[Mapping[str, Any]] = ()
    dataset_kind: str = ""
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    unknown_words: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        artifacts: Path,
        results: Path,
        data_root: Path,
        digests: Mapping[str, str] = MappingProxyType({}),
        **described: Any,
    ) -> ReportInputs:
        """From the stages' folders; ``described`` are the other attributes that no file holds.

        Raises:
            NandError: a table is missing, a prompt set is no JSON, or a file has not the content of its digest.
        """

        def table(path: Path) -> pd.DataFrame:
            return _table(path, digests.get(path.as_posix()))

        manifest = table(artifacts / "manifest.parquet")
        groups = known_groups(manifest)
        operating, examples = results / "operating.parquet", results / "examples.parquet"
        return cls(
            manifest=manifest,
            data_root=data_root,
            artifacts=artifacts,
            auroc=table(results / "auroc.parquet"),
            scores=table(results / "scores.parquet"),
            operating=table(operating) if operating.exists() else None,
            examples=table(examples) if examples.exists() else None,
            digests=digests,
            prompts=[
                read_json(path, digests.get(path.as_posix()))
                for path in sorted((artifacts / "prompts").glob("*/*.json"))
                if path.name.removesuffix(".json") in groups.get(path.parent.name, ())
            ],
            **described,
        )


def report_data_files() -> list[Path]:
    """The package's files that shape the page beside its code: templates, style and the paper's tables."""
    return [path for path in sorted(Path(__file__).parent.rglob("*.*")) if path.suffix in {".j2", ".css", ".csv"}]


def _table(path: Path, sha256: str | None) -> pd.DataFrame:
    file = verified(path, sha256)
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise NandError(f"{path}: not a readable table ({error}); run the stage that writes it") from error


def read_json(path: Path, sha256: str | None = None) -> dict[str, Any]:
    """A prompt set as it lies on disk; a NandError that names the file if it is no JSON, or another than was hashed."""
    file = verified(path, sha256)
    try:
        read: dict[str, Any] = json.loads(file.read())
    except ValueError as error:
        raise NandError(f"{path}: not readable as JSON ({error}); run the prompts stage again") from error
    return read
