"""The files that an encoder is made of: its config, weights, linear layers and vocabulary.

open_clip is imported where one of its own models is named: it takes seconds, and most stages never need it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nand_core.errors import NandError, nearest
from nand_core.vlm import package
from nand_core.vlm.files import WeightFile
from nand_core.vlm.settings import EMBEDDED, HEADS, SHIPPED, EncoderSettings, FileKey


def model_config(settings: EncoderSettings, file: WeightFile | None = None) -> dict[str, Any]:
    """The open_clip config of the model, with ``preprocess_cfg`` where the config or the tag has one.

    Of ``file``, if it is given: that is read as it was hashed.

    Raises:
        NandError: no such model or config file, or the file is no open_clip config.
    """
    path = settings.config_path
    config: dict[str, Any] | None
    if path is None:
        import open_clip

        config = open_clip.get_model_config(settings.model)
        if config is None:
            raise NandError(
                f"encoder.model: no model {settings.model!r}{nearest(settings.model, _known_models())}"
            )
        tag = open_clip.get_pretrained_cfg(settings.model, settings.pretrained or "")
        return config | {"preprocess_cfg": {key: tag[key] for key in ("mean", "std") if tag.get(key)}}
    data = file.read().getvalue() if file else None
    try:
        config = json.loads(path.read_bytes() if data is None else data)
    except FileNotFoundError:
        raise NandError(f"encoder.model: no config file {path}") from None
    except (ValueError, RecursionError) as error:
        raise NandError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
        raise NandError(f"{path}: not an open_clip config; it needs embed_dim, vision_cfg and text_cfg")
    return config


def weight_files(settings: EncoderSettings, download: bool = False) -> list[WeightFile]:
    """Every file that the encoder is made of, without loading any.

    Args:
        download: fetch the weights of an open_clip tag where they are not in its cache yet.
    """
    files: dict[FileKey, tuple[str, Path | None]] = {}
    config = settings.config_path
    shipped = SHIPPED.get(settings.model)
    if config is None:
        model_config(settings)
    else:
        files["config"] = (settings.model, config)
        vocabulary = model_config(settings).get("tokenizer") if config.is_file() else None
        if vocabulary:
            files["vocabulary"] = (vocabulary, config.parent / vocabulary)
    if settings.pretrained is None and shipped is None:
        import open_clip

        raise NandError(
            f"encoder.pretrained: {settings.model} needs weights; name an open_clip tag"
            f" ({', '.join(open_clip.list_pretrained_tags_by_model(settings.model)) or 'none for this model'})"
            " or the path of a weights file"
        )
    if shipped not in (None, EMBEDDED):
        files["text"] = ("embedded", EMBEDDED / "model.safetensors")
        files["text_config"] = ("embedded", EMBEDDED / "config.json")
    if settings.pretrained is None and "text" in files:
        files["pretrained"] = (package.NAME, package.weights())
    elif settings.pretrained is None:
        files["pretrained"] = ("embedded", EMBEDDED / "model.safetensors")
    else:
        name = settings.pretrained
        tag = None if config is not None else _tag(settings.model, name)
        files["pretrained"] = (name, _tag_path(settings.model, name, tag, download) if tag else Path(name))
    if settings.linear_layers is not None:
        files["linear_layers"] = (settings.linear_layers, Path(settings.linear_layers))
    elif shipped is not None:
        files["linear_layers"] = (settings.model, HEADS[settings.model])
    unused = sorted(settings.sha256.keys() - files.keys())
    if unused:
        raise NandError(
            f"encoder.sha256: {', '.join(unused)} given, this encoder has only {', '.join(files)}"
        )
    return [_weight_file(settings, key, wanted, path) for key, (wanted, path) in files.items()]


def _weight_file(settings: EncoderSettings, key: FileKey, wanted: str, path: Path | None) -> WeightFile:
    expected = settings.sha256.get(key)
    if wanted == package.NAME:
        return WeightFile(key, wanted, path, expected or package.SHA256, missing=package.ADVICE)
    return WeightFile(key, wanted, path, expected)


def encoder_digest(settings: EncoderSettings) -> dict[str, str]:
    """The sha256 of every file of the encoder by its key, without loading the model.

    Raises:
        NandError: a file is missing, or is not the one named in ``settings.sha256``.
    """
    return {file.key: file.digest() for file in weight_files(settings, download=True)}


def _known_models() -> list[str]:
    import open_clip

    return [*SHIPPED, *open_clip.list_models()]


def _tag(model: str, name: str) -> dict[str, Any]:
    """open_clip's entry for pretrained weights; empty if ``name`` is none of its tags."""
    import open_clip

    tag: dict[str, Any] = open_clip.get_pretrained_cfg(model, name)
    return tag


def _tag_path(model: str, name: str, tag: dict[str, Any], download: bool) -> Path | None:
    """Where open_clip keeps the weights of a tag; None if they are not here."""
    if download and not _cached(tag):
        import open_clip

        try:
            return Path(open_clip.download_pretrained(tag))
        except Exception as error:  # every HTTP and hub library has its own
            raise NandError(
                f"encoder.pretrained: the weights {name!r} of {model} are not here and could not be fetched "
                f"({str(error).splitlines()[0][:120]}); set encoder.pretrained to the path of a downloaded file"
            ) from error
    return _cached(tag)


def _cached(tag: dict[str, Any]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    repository, _, file = tag.get("hf_hub", "").rpartition("/")
    names = [file] if file else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    for name in names if repository else []:
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
    url_copy = Path("~/.cache/clip").expanduser() / tag.get("url", "").rpartition("/")[2]
    return url_copy if url_copy.is_file() else None
