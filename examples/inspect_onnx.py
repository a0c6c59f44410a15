"""Judge images by a model of ``nand export``, without PyTorch: ``python inspect_onnx.py carpet.onnx IMAGE ...``."""

import json
import sys

import onnxruntime

from nand_core.datasets.images import read_image
from nand_core.view import View

model, *images = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
description = json.loads(session.get_modelmeta().custom_metadata_map["nand"])
views = {name: View(**view) for name, view in description["inputs"].items()}
for name in images:
    image = read_image(name, bits=description["bits"])
    pixels = {key: view.pixels(image) for key, view in views.items()}
    score, alarm, heat = session.run(["score_after", "alarm_after", "map_after"], pixels)
    y, x = divmod(int(heat.argmax()), heat.shape[1])  # of 256 x 256 over the whole image
    print(name, f"{score:.6g}", "ALARM" if alarm else "ok", f"most at {x / 2.56:.0f} %, {y / 2.56:.0f} %")
