"""torchvision's compiled part does not load beside a CPU build of torch; what is used here needs the names alone."""

from __future__ import annotations

import importlib.util

import torch

if importlib.util.find_spec("deepinv") is not None:
    _LIBRARY = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
