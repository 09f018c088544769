"""Detectors of libraries, small variants with random weights, and how to read what they return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from exporting import quiet, write
from tables.verdicts import NOT_MADE, one_line
from torch import Tensor, nn

from survey.boxes import Found, Reading, examine, flat
from survey.networks import _enliven, _set_batch_statistics, limited, pictures
from survey.tape import Array

SHAPE = (3, 128, 160)
_N = 6  # classes
TORCHVISION = "fasterrcnn maskrcnn keypointrcnn retinanet fcos ssd300 ssdlite".split()
HUGGING = "Detr ConditionalDetr DabDetr DeformableDetr Yolos RTDetr RTDetrV2 DFine".split()
ULTRALYTICS = (
    "yolov3-tiny yolov5n yolov8n yolo11n yolo12n yolov10n yolo26n rtdetr-l yolov8n-seg "
    "yolov8n-pose yolov8n-obb"
).split()


@dataclass(frozen=True)
class Detector:
    """A detector to examine.

    Attributes:
        library: Whose code it is.
        name: Of the network.
        build: Makes it.
        reading: How to read what it returns.
    """

    library: str
    name: str
    build: Callable[[], nn.Module]
    reading: Reading

    @property
    def key(self) -> str:
        """The name for files and tables."""
        return f"{self.library}.{self.name}"

    def made(self) -> tuple[nn.Module, Tensor]:
        """Return the network with weights as training leaves them, and an input."""
        torch.manual_seed(0)
        net = self.build()
        for module in net.modules():
            if getattr(module, "inplace", False):
                module.inplace = False
        _enliven(net)
        net.eval()
        with torch.no_grad():
            _set_batch_statistics(
                net, pictures(SHAPE, 2 if self.library == "torchvision" else 8, 1)
            )
        for parameter in net.parameters():
            parameter.requires_grad_(False)
        return net, pictures(SHAPE, 1, 11)


def examined(each: Detector, exporter: str, path: Path, seconds: int = 400) -> Found:
    """Write a detector's file where there is none, and return what is found of it.

    Args:
        each: The detector.
        exporter: "script" or "dynamo".
        path: The file.
        seconds: That the export may take.
    """
    row = Found(each.library, each.name, exporter)
    try:
        with quiet():
            net, x = each.made()
            if not path.exists():
                with limited(seconds):
                    write(net, x, path, dynamo=exporter == "dynamo", dynamic=False)
            return examine(path, net, x, each.reading, row)
    except Exception as error:  # noqa: BLE001  # another library's
        row.verdict, row.note = NOT_MADE, one_line(error)[:200]
    return row


class _Rows(nn.Module):
    """A detector of torchvision that returns boxes, labels and scores of one picture."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        """Return the rows."""
        y = self.net([*x])[0]
        return y["boxes"], y["labels"], y["scores"]


class _Queries(nn.Module):
    """A detector of transformers that returns logits and boxes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        """Return them."""
        y = self.net(x)
        return y.logits, y.pred_boxes


def torchvision_detector(name: str) -> nn.Module:
    """Return a detector of torchvision, on a ResNet-18 with its pyramid where it takes one."""
    from torchvision.models import detection as home
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    most: dict[str, Any] = {"score_thresh": 0.0, "detections_per_img": 20, "topk_candidates": 50}
    if name.startswith("ssd"):
        full = "ssd300_vgg16" if name == "ssd300" else "ssdlite320_mobilenet_v3_large"
        options = {"weights": None, "weights_backbone": None, "num_classes": _N}
        return _Rows(getattr(home, full)(**options, **most))
    levels = {} if name.endswith("rcnn") else {
        "returned_layers": [2, 3, 4], "extra_blocks": LastLevelP6P7(256, 256),
    }  # fmt: skip
    trunk = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5,
        **levels,
    )  # fmt: skip
    size = {"min_size": 128, "max_size": 160}
    if not name.endswith("rcnn"):
        return _Rows(
            {"retinanet": home.RetinaNet, "fcos": home.FCOS}[name](trunk, _N, **size, **most)
        )
    kind = {"fasterrcnn": home.FasterRCNN, "maskrcnn": home.MaskRCNN,
            "keypointrcnn": home.KeypointRCNN}[name]  # fmt: skip
    proposals = {"rpn_pre_nms_top_n_test": 60, "rpn_post_nms_top_n_test": 20,
                 "box_score_thresh": 0.0, "box_detections_per_img": 20}  # fmt: skip
    points = {"num_keypoints": 5} if name == "keypointrcnn" else {}
    return _Rows(kind(trunk, 2 if points else _N, **size, **proposals, **points))


def hugging_detector(name: str) -> nn.Module:
    """Return a detector of transformers, a small one."""
    import transformers as home

    kind: Any = getattr(home, f"{name}ForObjectDetection")
    trunk: dict[str, Any] = {"embedding_size": 16, "hidden_sizes": [32, 48, 64, 96]}
    three = {"out_features": ["stage2", "stage3", "stage4"]}
    own: dict[str, Any] = {"num_labels": 5}
    wide = {f"{side}_{what}": n for side in ("encoder", "decoder")
            for what, n in (("ffn_dim", 48), ("attention_heads", 2))}  # fmt: skip
    if name == "Yolos":
        own |= {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3,
                "intermediate_size": 96, "image_size": [128, 160], "patch_size": 16,
                "num_detection_tokens": 10}  # fmt: skip
    elif name in ("RTDetr", "RTDetrV2", "DFine"):
        blocks = home.RTDetrResNetConfig(depths=[1, 1, 1, 1], **trunk, **three)
        own |= {"backbone_config": blocks, "encoder_hidden_dim": 32, "d_model": 32,
                "encoder_in_channels": [48, 64, 96], "num_queries": 11, "decoder_layers": 2,
                "decoder_in_channels": [32, 32, 32], "anchor_image_size": None, **wide}  # fmt: skip
    else:
        several = three if name == "DeformableDetr" else {"out_features": ["stage4"]}
        blocks = home.ResNetConfig(depths=[1, 1, 1, 2], layer_type="basic", **trunk, **several)
        own |= {"backbone_config": blocks, "use_timm_backbone": False, "backbone": None,
                "use_pretrained_backbone": False, "d_model": 32, "encoder_layers": 1,
                "decoder_layers": 2, "num_queries": 11, **wide}  # fmt: skip
        own |= {"num_feature_levels": 3} if name == "DeformableDetr" else {}
    config = kind.config_class(**own)
    config._attn_implementation = "eager"
    return _Queries(kind(config))


def ultralytics_detector(name: str) -> nn.Module:
    """Return a detector of ultralytics, as its own exporter sets it up."""
    import ultralytics

    kind: Any = ultralytics.RTDETR if name.startswith("rtdetr") else ultralytics.YOLO
    net: nn.Module = kind(f"{name}.yaml").model
    head: Any = net.model[-1]  # type: ignore[index]
    head.export, head.format = True, "onnx"
    return net.float()


def every() -> list[Detector]:
    """Return all of them."""
    wide = np.array([SHAPE[2], SHAPE[1]] * 2)

    def edges(box: Tensor, scale: Any = 1) -> Array:
        x, y, w, h = box.detach().double().numpy() * scale
        return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])

    def first(y: Any) -> Tensor:
        return next(flat(y))[0]

    rows = Reading(lambda y, r, c: y[2][r], lambda y, r: y[0][r].detach().double().numpy())
    queries = Reading(lambda y, r, c: y[0][0, r, c], lambda y, r: edges(y[1][0, r], wide))
    detr = Reading(lambda y, r, c: first(y)[r, 4], lambda y, r: edges(first(y)[r, :4], wide))
    grid = Reading(lambda y, r, c: first(y)[4 + c, r], lambda y, r: edges(first(y)[:4, r]))
    bare = Reading(lambda y, r, c: first(y)[4 + c, r])  # writes left, top, right and bottom
    made = [Detector("torchvision", n, lambda n=n: torchvision_detector(n), rows)  # type: ignore
            for n in TORCHVISION]  # fmt: skip
    made += [Detector("transformers", n, lambda n=n: hugging_detector(n), queries)  # type: ignore
             for n in HUGGING]  # fmt: skip
    for n in ULTRALYTICS:
        how = detr if n.startswith("rtdetr") else bare if n in ("yolov10n", "yolo26n") else grid
        made.append(Detector("ultralytics", n, lambda n=n: ultralytics_detector(n), how))  # type: ignore
    return made
