"""Networks of transformers, ultralytics, segmentation-models-pytorch, monai and keras."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from survey.networks import Subject

IMAGE = (3, 96, 128)
N = 17  # classes

# class, options of its configuration, input, stage, class tokens, patch, channels last
_SMALL = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3,
          "intermediate_size": 96}  # fmt: skip
_VIT = {**_SMALL, "image_size": [96, 128], "patch_size": 16}
HUGGING: list[tuple[str, dict[str, Any], tuple[int, ...], str, int | None, int, bool]] = [
    ("ViTForImageClassification", _VIT, IMAGE, "layers|layer", 1, 16, False),
    ("DeiTForImageClassification", _VIT, IMAGE, "layers|layer", 2, 16, False),
    ("ViTMSNForImageClassification", _VIT, IMAGE, "layers|layer", 1, 16, False),
    ("Dinov2ForImageClassification",
     {**_SMALL, "image_size": 112, "patch_size": 14}, (3, 112, 112), "layers|layer", 1, 14, False),
    ("Dinov2WithRegistersForImageClassification",
     {**_SMALL, "image_size": 112, "patch_size": 14}, (3, 112, 112), "layers|layer", 5, 14, False),
    ("BeitForImageClassification", {**_SMALL, "image_size": 128, "patch_size": 16},
     (3, 128, 128), "layers|layer", 1, 16, False),
    ("Data2VecVisionForImageClassification", {**_SMALL, "image_size": 128, "patch_size": 16},
     (3, 128, 128), "layers|layer", 1, 16, False),
    ("SwinForImageClassification",
     {"image_size": 128, "embed_dim": 24, "depths": [2, 2, 2], "num_heads": [2, 3, 4],
      "window_size": 4}, (3, 128, 128), "layers|layer", 0, 16, False),
    ("Swinv2ForImageClassification",
     {"image_size": 128, "embed_dim": 24, "depths": [2, 2, 2], "num_heads": [2, 3, 4],
      "window_size": 4}, (3, 128, 128), "layers|layer", 0, 16, False),
    ("ConvNextForImageClassification", {"hidden_sizes": [24, 32, 48, 64], "depths": [1, 1, 2, 1]},
     IMAGE, "stages", None, 0, False),
    ("ConvNextV2ForImageClassification", {"hidden_sizes": [24, 32, 48, 64], "depths": [1, 1, 2, 1]},
     IMAGE, "stages", None, 0, False),
    ("ResNetForImageClassification",
     {"embedding_size": 16, "hidden_sizes": [32, 48, 64, 96], "depths": [1, 1, 1, 2]},
     IMAGE, "stages", None, 0, False),
    ("RegNetForImageClassification",
     {"embedding_size": 16, "hidden_sizes": [32, 48, 64, 96], "depths": [1, 1, 1, 2],
      "groups_width": 16}, IMAGE, "stages", None, 0, False),
    ("BitForImageClassification",
     {"embedding_size": 32, "hidden_sizes": [128, 128, 256, 256], "depths": [1, 1, 1, 2],
      "num_groups": 8}, IMAGE, "stages", None, 0, False),
    ("MobileNetV1ForImageClassification", {"depth_multiplier": 0.5}, IMAGE, "layer", None, 0,
     False),
    ("MobileNetV2ForImageClassification", {"depth_multiplier": 0.5}, IMAGE, "layer", None, 0,
     False),
    ("MobileViTForImageClassification", {"hidden_sizes": [48, 64, 80]}, IMAGE, "layers|layer", None,
     0, False),
    ("MobileViTV2ForImageClassification", {"width_multiplier": 0.5}, IMAGE, "layers|layer", None, 0,
     False),
    ("EfficientNetForImageClassification",
     {"width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640}, IMAGE, "blocks",
     None, 0, False),
    ("PoolFormerForImageClassification",
     {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]}, IMAGE, "block.*", None, 0, False),
    ("SegformerForImageClassification", {}, IMAGE, "stages|block.*|layers", None, 32, False),
    ("SegformerForSemanticSegmentation", {}, IMAGE, "stages|block.*|layers", None, 32, False),
    ("PvtForImageClassification", {"image_size": 96}, (3, 96, 96), "block.*", 1, 32, False),
    ("PvtV2ForImageClassification", {"image_size": 96}, (3, 96, 128), "layers", None, 32, False),
    ("FocalNetForImageClassification",
     {"image_size": 128, "embed_dim": 24, "depths": [1, 1, 2, 1]}, (3, 128, 128), "stages", 0, 32,
     False),
    ("SwiftFormerForImageClassification", {}, (3, 96, 128), "network", None, 0, False),
    ("LevitForImageClassification", {"image_size": 224}, (3, 224, 224), "stages", 0, 64, False),
    ("CvtForImageClassification", {}, (3, 96, 128), "stages", 1, 0, False),
    ("HieraForImageClassification", {"image_size": [224, 224]}, (3, 224, 224), "stages", 0, 32,
     False),
    ("UperNetForSemanticSegmentation", {}, IMAGE, "stages", None, 0, False),
]  # fmt: skip


def last_of(*names: str) -> Callable[[nn.Module], str]:
    """Return a function that says the last item of the outermost list of that name.

    With ".*" behind it, the last item of that list's last list.
    """

    def stage(net: nn.Module) -> str:
        for path, module in net.named_modules():
            own = path.rsplit(".", 1)[-1]
            if not isinstance(module, nn.ModuleList | nn.Sequential):
                continue
            if own in names:
                return f"{path}.{len(module) - 1}"
            if f"{own}.*" in names:
                return f"{path}.{len(module) - 1}.{len(module[-1]) - 1}"  # type: ignore[arg-type]
        raise LookupError(f"the network has no list called {names}")

    return stage


def transformers_models() -> Iterator[Subject]:
    """Yield networks of transformers, small ones."""
    for name, options, shape, stage, tokens, grid, last in HUGGING:

        def build(name: str = name, options: dict[str, Any] = options) -> nn.Module:
            import transformers

            kind: Any = getattr(transformers, name)
            config = kind.config_class(**options)
            config.num_labels = N
            config._attn_implementation = "eager"
            net: nn.Module = kind(config)
            return net

        short = name.replace("ForImageClassification", "").replace("ForSemanticSeg", "-seg")
        where = last_of(*stage.split("|"))
        yield Subject(
            "transformers", short, build, shape, where, tokens, last, grid, lambda y: y.logits
        )


def ultralytics_models() -> Iterator[Subject]:
    """Yield classifiers and detectors of ultralytics."""
    for name in ("yolov8n-cls", "yolo11n-cls", "yolov8n", "yolo11n", "yolov8n-seg"):

        def build(name: str = name) -> nn.Module:
            from ultralytics import YOLO

            net: nn.Module = YOLO(f"{name}.yaml").model
            head: Any = net.model[-1]
            head.export, head.format = True, "onnx"
            return net.float()

        def stage(net: nn.Module, name: str = name) -> str:
            # a detector: the last layer that the scores of all its scales pass through
            last = len(net.model) - 2 if "cls" in name else 4  # type: ignore[arg-type]
            return f"model.{last}"

        picked = (lambda y: y) if "cls" in name else _detections
        yield Subject("ultralytics", name, build, (3, 96, 128), stage, pick=picked)


def _detections(y: Any) -> Any:
    return y[0] if isinstance(y, tuple | list) else y


def smp_models() -> Iterator[Subject]:
    """Yield networks of segmentation-models-pytorch."""
    kinds = "Unet UnetPlusPlus MAnet Linknet FPN PSPNet DeepLabV3 DeepLabV3Plus PAN UPerNet".split()
    for kind in [*kinds, "Segformer"]:

        def build(kind: str = kind) -> nn.Module:
            import segmentation_models_pytorch as smp

            net: nn.Module = getattr(smp, kind)(
                encoder_name="resnet18", encoder_weights=None, classes=5
            )
            return net

        yield Subject("smp", kind, build, (3, 128, 160), "encoder.layer4")


def monai_models() -> Iterator[Subject]:
    """Yield networks of monai, of two and three axes of space."""

    def of(name: str, **options: Any) -> Callable[[], nn.Module]:
        def build() -> nn.Module:
            from monai.networks import nets

            net: nn.Module = getattr(nets, name)(**options)
            return net

        return build

    flat, deep = {"spatial_dims": 2, "in_channels": 1}, {"spatial_dims": 3, "in_channels": 1}
    small = {"init_features": 16, "growth_rate": 8, "block_config": (2, 2, 2)}
    blocks = {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 24, 32]}
    plane, volume = (1, 64, 96), (1, 32, 48, 40)
    yield Subject(
        "monai", "DenseNet-2d", of("DenseNet", out_channels=N, **flat, **small), plane,
        "features.denseblock3",
    )  # fmt: skip
    yield Subject(
        "monai", "DenseNet-3d", of("DenseNet", out_channels=N, **deep, **small), volume,
        "features.denseblock3",
    )  # fmt: skip
    three = {"spatial_dims": 3, "n_input_channels": 1, "num_classes": N}
    yield Subject("monai", "ResNet-3d", of("ResNet", **three, **blocks), volume, "layer4")
    yield Subject(
        "monai", "SEResNet50", of("SEResNet50", spatial_dims=2, in_channels=3, num_classes=N),
        (3, 96, 128), "layer4",
    )  # fmt: skip
    yield Subject(
        "monai", "EfficientNetBN-b0",
        of("EfficientNetBN", model_name="efficientnet-b0", pretrained=False, spatial_dims=2,
           in_channels=3, num_classes=N), (3, 96, 128), "_blocks.6",
    )  # fmt: skip
    sizes = {"channels": (8, 16, 32), "strides": (2, 2), "num_res_units": 1, "out_channels": 3}
    yield Subject("monai", "UNet-2d", of("UNet", **flat, **sizes), plane, "model.1.submodule")
    yield Subject(
        "monai", "SegResNet-3d", of("SegResNet", out_channels=3, init_filters=8, **deep), volume,
        "down_layers.3",
    )  # fmt: skip
    yield Subject(
        "monai", "BasicUNet-2d",
        of("BasicUNet", out_channels=3, features=(8, 8, 16, 16, 32, 8), **flat), plane, "down_4",
    )  # fmt: skip
    yield Subject(
        "monai", "ViT-2d",
        of("ViT", img_size=(64, 96), patch_size=(16, 16), hidden_size=48, mlp_dim=96, num_layers=3,
           num_heads=3, classification=True, num_classes=N, post_activation="none", **flat),
        plane, "blocks.2", 1, False, 16, lambda y: y[0],
    )  # fmt: skip


def keras_models(classes: int) -> Iterator[Subject]:
    """Yield networks of keras with torch behind it."""
    stages = {
        "MobileNetV2": "out_relu", "MobileNet": "conv_pw_13_relu", "ResNet50": "conv5_block3_out",
        "DenseNet121": "relu", "EfficientNetB0": "top_activation",
        "Xception": "block14_sepconv2_act", "VGG16": "block5_conv3", "InceptionV3": "mixed10",
        "NASNetMobile": "activation_187",
        "MobileNetV3Small": "activation_17", "ResNet50V2": "post_relu",
    }  # fmt: skip
    for name, stage in stages.items():

        def build(name: str = name) -> nn.Module:
            net: nn.Module = getattr(keras_afresh().applications, name)(
                weights=None, input_shape=(96, 128, 3), classes=classes, classifier_activation=None
            )
            return net

        yield Subject("keras", name, build, (96, 128, 3), stage, channels_last=True)


def keras_afresh() -> Any:
    """Return keras, its random numbers and the names of layers from the start again.

    Else a network was another one after other networks, and not that of a file made before.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    return keras
