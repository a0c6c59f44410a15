"""``nand weights``: what a params file needs, what is here, and what to do about the rest."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from oracle_data import ORACLE, tiny_settings
from ruamel.yaml import YAML
from typer.testing import CliRunner

from nand.cli.app import app
from nand.weights import needed_files
from nand_core.artifacts.store import sha256_file
from nand_core.config import Params, load_params
from nand_core.errors import NandError

ROOT = Path(__file__).parents[2]
WEIGHTS, LINEAR = ORACLE / "clip_tiny.pt", ORACLE / "april_linear_tiny.pt"
BACKBONE = "torchvision:wide_resnet50_2.IMAGENET1K_V1"


@pytest.fixture(autouse=True)
def nothing_cached(monkeypatch, tmp_path):
    """A home without any library's downloads, and no way to fetch them."""
    from huggingface_hub import constants

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr(open_clip, "download_pretrained", lambda *_: pytest.fail("fetched weights"))


@pytest.fixture
def params(tmp_path):
    """Writes a params file of a tiny encoder, a WinCLIP with one of its own, and PatchCore."""

    def write(encoder: dict | None = None, patchcore: dict | None = None) -> Path:
        own = tiny_settings(112, linear_layers=None).model_dump(mode="json", exclude_unset=True)
        values = {
            "dataset": {"kind": "folder", "root": "data/parts"},
            "encoder": tiny_settings(112).model_dump(mode="json", exclude_unset=True) | (encoder or {}),
            "detectors": {
                "april_gan": {"kind": "april_gan"},
                "winclip_0": {"kind": "winclip", "encoder": own},
                "winclip_1": {"kind": "winclip", "shots": 1, "encoder": own},
                "patchcore": {"kind": "patchcore", "device": "cpu"} | (patchcore or {}),
            },
        }
        path = tmp_path / "params.yaml"
        with path.open("w") as file:
            YAML(typ="safe").dump(values, file)
        return path

    return write


def listed(path: Path) -> tuple[int, list[str]]:
    """Exit status and lines of the command."""
    result = CliRunner().invoke(app, ["weights", str(path)])
    return result.exit_code, result.output.splitlines()


def line_of(lines: list[str], word: str) -> str:
    found = [line for line in lines if word in line]
    assert len(found) == 1, lines
    return found[0]


def test_everything_is_here(params):
    code, lines = listed(params())
    assert code == 0
    linear = line_of(lines, LINEAR.name).split()
    assert linear[0] == "encoder" and linear[-2:] == ["here", sha256_file(LINEAR)]
    weights = line_of(lines, WEIGHTS.name)
    assert weights.startswith("encoder, winclip_0, winclip_1 "), "a file that several use is one line"
    assert weights.split()[-1] == sha256_file(WEIGHTS)
    assert len(lines) == 1 + 3


def test_a_missing_file_says_where_to_put_it(params, tmp_path):
    gone = tmp_path / "weights" / "visa.pth"
    code, lines = listed(params({"linear_layers": str(gone)}))
    assert code == 1
    row, advice = (line for line in lines if gone.name in line)
    assert row.split()[-1] == "missing"
    assert advice.startswith("encoder.linear_layers: ") and f"put the file at {gone}" in advice


@pytest.mark.parametrize(
    ("digest", "state", "code"), [(sha256_file(LINEAR), "here, as set", 0), ("0" * 64, "wrong", 1)]
)
def test_the_digest_in_the_settings_is_compared(params, digest, state, code):
    found, lines = listed(params({"sha256": {"linear_layers": digest}}))
    assert found == code
    row = next(line for line in lines if LINEAR.name in line)
    assert state in row and sha256_file(LINEAR) in row
    assert any(line.startswith("encoder.linear_layers: ") and "0" * 64 in line for line in lines) == (code == 1)


def test_published_weights_fetch_themselves(params):
    tag = {"model": "ViT-L-14-336", "pretrained": "openai", "layers": [6, 12, 18, 24], "image_size": 518}
    code, lines = listed(params(tag, {"backbone": BACKBONE}))
    assert code == 1
    advice = [line for line in lines if "is fetched by the first run" in line]
    assert [line.split(":")[0] for line in advice] == ["encoder.pretrained", "detectors.patchcore.weights"]
    assert "ViT-L-14-336 openai" in advice[0] and BACKBONE in advice[1]


@pytest.mark.parametrize(
    ("backbone", "copy"),
    [
        (BACKBONE, "torch/checkpoints/wide_resnet50_2-95faca4d.pth"),
        (
            "open_clip:ViT-B-32.openai",
            "hub/models--timm--vit_base_patch32_clip_224.openai/snapshots/abc/open_clip_model.safetensors",
        ),
        ("timm:wide_resnet50_2.tv_in1k", "hub/models--timm--wide_resnet50_2.tv_in1k/snapshots/abc/model.safetensors"),
    ],
)
def test_what_a_library_fetched_before_is_here(params, tmp_path, backbone, copy):
    assert listed(params(patchcore={"backbone": backbone}))[0] == 1
    copy = tmp_path / copy
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"weights")
    if "hub" in copy.parts:
        (copy.parents[2] / "refs").mkdir()
        (copy.parents[2] / "refs/main").write_text("abc")
    code, lines = listed(params(patchcore={"backbone": backbone}))
    assert code == 0 and line_of(lines, str(copy)).split()[-1] == sha256_file(copy)


def test_a_backbone_in_a_file(params, tmp_path):
    file = tmp_path / "wide.pth"
    code, lines = listed(params(patchcore={"backbone": BACKBONE, "weights": str(file)}))
    assert code == 1 and any(f"detectors.patchcore.weights: put the file at {file}" in line for line in lines)
    file.write_bytes(b"weights")
    right = {"backbone": BACKBONE, "weights": str(file), "sha256": sha256_file(file)}
    assert listed(params(patchcore=right))[0] == 0


def test_detectors_that_share_a_backbone_share_its_line(params, tmp_path):
    file = tmp_path / "wide.pth"
    file.write_bytes(b"weights")
    path = params(patchcore={"backbone": BACKBONE, "weights": str(file)})
    values = YAML(typ="safe").load(path)
    values["detectors"]["plane"] = values["detectors"]["patchcore"] | {"kind": "subspace"}
    YAML(typ="safe").dump(values, path)
    found = [needed for needed in needed_files(load_params(path)) if needed.model == BACKBONE]
    assert [needed.sections for needed in found] == [("detectors.patchcore", "detectors.plane")]


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("torchvision:wide_resnet50_3.IMAGENET1K_V1", "wide_resnet50_3"),
        ("torchvision:wide_resnet50_2.IMAGENET1K_V9", "IMAGENET1K_V9"),
        ("timm:wide_resnet50_2.tv_in2k", "tv_in2k"),
        ("open_clip:ViT-B-23.openai", "did you mean"),
        ("open_clip:ViT-B-32.opanai", "it has: openai"),
    ],
)
def test_a_backbone_that_nobody_knows_is_one_line(params, backbone, message):
    result = CliRunner().invoke(app, ["weights", str(params(patchcore={"backbone": backbone}))])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: patchcore.backbone: ") and message in line


@pytest.mark.parametrize("profile", ["mvtec_ad", "visa"])
def test_the_published_settings_name_weights_that_exist(profile):
    found = {(file.model, file.file.wanted) for file in needed_files(load_params(ROOT / f"profiles/{profile}.yaml"))}
    trained_on = {"mvtec_ad": "visa", "visa": "mvtec"}[profile]
    assert found == {
        ("ViT-L-14-336", "openai"),
        ("ViT-L-14-336", f"weights/{trained_on}_pretrained.pth"),
        ("ViT-B-16-plus-240", "laion400m_e31"),
        (BACKBONE, BACKBONE),
    }


def test_unknown_models_are_refused():
    settings = {"dataset": {"root": "x"}, "detectors": {"a": {"kind": "april_gan"}}}
    with pytest.raises(NandError, match="did you mean 'ViT-L-14-336'"):
        needed_files(Params(**settings, encoder={"model": "ViT-L-14-366", "pretrained": "openai"}))
