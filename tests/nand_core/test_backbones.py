"""Transformers of timm and open_clip as backbones, on seeded weights."""

from __future__ import annotations

import open_clip
import pytest
import timm
import torch
from oracle_data import ORACLE, Batch, images, tiny_vlm
from pydantic import ValidationError
from safetensors.torch import save_file

from nand_core.detectors.backbones import Blocks, is_transformer, load_backbone, quarter_ends
from nand_core.detectors.base import Context
from nand_core.detectors.build import build_detector
from nand_core.detectors.networks import backbone_digest, backbone_file
from nand_core.detectors.settings import PatchCoreSettings, SubspaceSettings
from nand_core.errors import NandError

VIT = "vit_tiny_patch16_224"
CPU = torch.device("cpu")


def saved(folder, name):
    """A seeded network of timm as a file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(name)
    path = folder / f"{name}.safetensors"
    save_file(model.state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("timm"), VIT)


@pytest.fixture
def clip():
    """The tiny model under a name that open_clip knows, with its weights."""
    from open_clip import factory

    known = dict(factory._MODEL_CONFIGS)
    open_clip.add_model_config(ORACLE / "clip_tiny.json")
    yield {"backbone": "open_clip:clip_tiny", "weights": str(ORACLE / "clip_tiny.pt")}
    factory._MODEL_CONFIGS.clear()
    factory._MODEL_CONFIGS.update(known)
    factory._rescan_model_configs()


def settings(**values):
    return SubspaceSettings(**{"device": "cpu", "resize": 64, "crop": None} | values)


def pixels(size, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def tokens_by_hooks(model, blocks, x, prefix):
    """What the blocks of a transformer give, class and register tokens dropped."""
    found = {}
    for number in blocks:
        model.blocks[number - 1].register_forward_hook(lambda _m, _i, out, n=number: found.update({n: out}))
    with torch.no_grad():
        model(x)
    return [found[n][:, prefix:] for n in blocks]


def test_blocks_of_a_vit_at_another_size_are_timms_own(vit):
    found = load_backbone(settings(backbone=f"timm:{VIT}", weights=vit, layers=(3, 12)), CPU)
    x = pixels(64)
    # timm brings the position embeddings to img_size while it loads, by a filter of its own.
    overlay = {"file": vit, "num_classes": 1000}
    own = timm.create_model(VIT, pretrained=True, img_size=64, pretrained_cfg_overlay=overlay).eval()
    for grid, tokens in zip(found(x), tokens_by_hooks(own, (3, 12), x, prefix=1), strict=True):
        assert grid.shape == (2, 192, 4, 4)
        torch.testing.assert_close(grid.flatten(2).mT, tokens)


def test_registers_are_dropped_and_tokens_stand_in_their_place():
    model = timm.create_model(VIT, img_size=64, reg_tokens=4, depth=2).eval()
    found = Blocks(model, (1, 2), 64, 32, CPU, mean=(0.5,) * 3, std=(0.5,) * 3)
    grids = found(pixels(32))
    own = tokens_by_hooks(model, (1, 2), pixels(32), prefix=5)
    assert [grid.shape for grid in grids] == [(2, 192, 2, 2)] * 2
    torch.testing.assert_close(grids[1][:, :, 1, 0], own[1][:, 2])


def test_mean_and_std_are_those_of_the_training(vit, clip):
    grey = images("img0")[0].resize((1, 1)).resize((64, 64))
    level = torch.tensor(grey.getpixel((0, 0))) / 255
    # The tag's: 0.5, where ImageNet's are the default of networks with named modules.
    found = load_backbone(settings(backbone=f"timm:{VIT}.augreg_in21k_ft_in1k", weights=vit), CPU)
    torch.testing.assert_close(found.preprocess(grey)[:, 0, 0], (level - 0.5) / 0.5)
    found = load_backbone(settings(**clip), CPU)
    mean, std = map(torch.tensor, (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    torch.testing.assert_close(found.preprocess(grey)[:, 0, 0], (level - mean) / std)


@pytest.mark.parametrize(("depth", "numbers"), [(12, [6, 9]), (24, [12, 18]), (5, [2, 3]), (2, [1]), (1, [1])])
def test_without_layers_named_the_ends_of_the_second_and_third_quarter(depth, numbers):
    assert quarter_ends(depth) == numbers


@pytest.mark.parametrize("size", [112, 160])
def test_blocks_of_open_clip_are_those_of_the_encoder(clip, size):
    found = load_backbone(settings(**clip, resize=size, layers=(3, 6, 9, 12)), CPU)
    wanted = tiny_vlm(size).encode_images(pixels(size)).layers
    assert all(torch.equal(grid, layer) for grid, layer in zip(found(pixels(size)), wanted, strict=True))
    default = load_backbone(settings(**clip, resize=size), CPU)
    assert all(torch.equal(grid, layer) for grid, layer in zip(default(pixels(size)), wanted[1:3], strict=True))


@pytest.mark.parametrize("kind", ["patchcore", "subspace"])
@pytest.mark.parametrize("library", ["timm", "open_clip"])
def test_detectors_on_a_transformer(vit, clip, kind, library):
    backbone = clip if library == "open_clip" else {"backbone": f"timm:{VIT}", "weights": vit}
    model = {"patchcore": PatchCoreSettings, "subspace": SubspaceSettings}[kind]
    given = model(**backbone, device="cpu", resize=128, crop=112, layers=(3, 6))
    found, again = (build_detector("mine", given, Context("bottle", None, None)) for _ in range(2))
    assert found.needs == frozenset()
    found.fit([Batch(images("ref0", "ref1"))])
    again.load_state(found.state())
    maps = found.maps(Batch(images("img0", "img1")))
    assert maps.shape == (2, 128, 128) and maps.max() > 0
    assert maps[:, :8].max() == 0, "outside the crop"
    assert torch.equal(maps, again.maps(Batch(images("img0", "img1"))))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": (3, 13)}, r"^subspace\.layers: 13 asked for, the backbone has 12 blocks"),
        ({"layers": ("blocks.3",)}, r"^subspace\.layers: timm:vit.* is a transformer.*not module names such as 'bl"),
        ({"resize": 100}, r"^subspace\.crop: images of 100 pixels .* patches of 16; take 96 or 112"),
        ({"crop": 8}, r"^subspace\.crop: images of 8 pixels .* patches of 16; take 16$"),
    ],
)
def test_layers_and_sizes_that_a_transformer_does_not_have(vit, given, message):
    with pytest.raises(NandError, match=message):
        load_backbone(settings(**{"backbone": f"timm:{VIT}", "weights": vit} | given), CPU)


def test_a_transformer_of_one_size(tmp_path):
    with pytest.raises(NandError, match=r"^subspace\.crop: the backbone takes no images of 64 pixels \(.*own size"):
        load_backbone(settings(backbone="timm:cait_xxs24_224", weights=saved(tmp_path, "cait_xxs24_224")), CPU)


def test_a_network_with_named_modules_has_no_block_numbers(tmp_path):
    given = {"backbone": "timm:resnet18", "weights": saved(tmp_path, "resnet18")}
    with pytest.raises(NandError, match=r"^subspace\.layers: timm:resnet18 is no transformer.*module names"):
        load_backbone(settings(**given, layers=(2,)), CPU)
    found = load_backbone(settings(**given), CPU)
    assert [grid.shape[1] for grid in found(pixels(64))] == [128, 256]


@pytest.mark.parametrize(
    ("name", "transformer"),
    [
        ("vit_small_patch14_dinov2.lvd142m", True),
        ("vit_small_patch16_dinov3.lvd1689m", True),
        ("vit_base_patch16_siglip_224.webli", True),
        ("eva02_tiny_patch14_224.mim_in22k", True),
        ("wide_resnet50_2.tv_in1k", False),
        ("mobilenetv4_conv_small.e2400_r224_in1k", False),
        ("convnext_tiny.in12k", False),
    ],
)
def test_which_networks_have_numbered_blocks(name, transformer):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert is_transformer(model) is transformer
    if transformer:
        given = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
        patch = 14 if "patch14" in name else 16
        grids = Blocks(model, None, 256, 224, torch.device("meta"), **given)(torch.empty(1, 3, 224, 224))
        assert [grid.shape[2:] for grid in grids] == [(224 // patch, 224 // patch)] * 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"backbone": "open_clip:ViT-B-32"}, "needs weights; name a tag, open_clip:NAME.TAG"),
        ({"backbone": "open_clip:ViT-B-32.openai", "layers": ("visual",)}, "openai are block numbers"),
        ({"backbone": "torchvision:resnet18.IMAGENET1K_V1", "layers": (2,)}, "IMAGENET1K_V1 are module names"),
        ({"backbone": f"timm:{VIT}", "layers": (2, "blocks.3")}, "either block numbers .* or module names, not both"),
        ({"backbone": f"timm:{VIT}", "layers": (0, 3)}, "greater than or equal to 1"),
        ({"backbone": f"timm:{VIT}", "layers": (9, 6)}, "1-based block numbers in ascending order"),
        ({"backbone": f"timm:{VIT}", "layers": (6, 6)}, "1-based block numbers in ascending order"),
    ],
)
def test_settings_that_make_no_sense(given, message):
    with pytest.raises(ValidationError, match=message):
        settings(**given)


def test_weights_of_open_clip(clip, monkeypatch, tmp_path):
    tagged = settings(backbone="open_clip:ViT-B-32.openai")
    assert backbone_digest(tagged) == {"weights": "open_clip:ViT-B-32.openai"}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not backbone_file(tagged).present

    def offline(*_):
        raise OSError("no network")

    monkeypatch.setattr(open_clip, "download_pretrained", offline)
    with pytest.raises(NandError, match=r"^subspace\.backbone: .*\(no network\).*set subspace\.weights"):
        load_backbone(tagged, CPU)
    with pytest.raises(NandError, match=r"^subspace\.backbone: open_clip knows no model 'ViT-B-23'; did you mean"):
        backbone_file(settings(backbone="open_clip:ViT-B-23.openai"))
    with pytest.raises(NandError, match=r"^subspace\.backbone: open_clip knows no weights 'opanai' of .*openai"):
        backbone_file(settings(backbone="open_clip:ViT-B-32.opanai"))
    with pytest.raises(NandError, match=r"does not fit the model; set subspace\.backbone"):
        load_backbone(settings(backbone="open_clip:clip_tiny", weights=str(ORACLE / "resnet_tiny.pt")), CPU)
    with pytest.raises(NandError, match="sha256"):
        load_backbone(settings(**clip, sha256="0" * 64), CPU)
    assert backbone_digest(settings(**clip)).keys() == {"weights"}
