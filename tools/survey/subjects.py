"""The networks of library code that are examined, small variants and small inputs first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import nn

from survey.networks import Subject

CLASSES = 17
IMAGE = (3, 96, 128)

# by timm's name; what follows are the keyword arguments of its constructor
TIMM_CONVNETS = """
resnet18 resnet26d resnetv2_50 seresnet50 resnext50_32x4d res2net50_26w_4s densenet121
mobilenetv2_050 mobilenetv3_small_050 mobilenetv4_conv_small efficientnet_lite0 tf_efficientnet_b0
efficientnetv2_rw_t regnetx_002 regnety_002 ghostnet_100 mnasnet_small hardcorenas_a rexnet_100
convnext_atto convnextv2_atto vgg11_bn dla34 hrnet_w18_small cspresnet50 darknet53 repvgg_a0
mobileone_s0 fastvit_t8 inception_v3 xception41 nfnet_l0 selecsls42b tresnet_m
edgenext_xx_small mobilevit_xxs mobilevitv2_050 poolformer_s12 efficientformer_l1 repvit_m0_9
starnet_s1 lcnet_050 hgnetv2_b0 inception_next_tiny focalnet_tiny_srf vovnet39a skresnet18
convmixer_768_32 resnest14d gernet_s mixnet_s dpn48b eca_resnet33ts lambda_resnet26t halonet26t
haloregnetz_b efficientvit_b0 mambaout_femto rdnet_tiny shvit_s1 nextvit_small fasternet_t0
ghostnetv2_100 repghostnet_050 convformer_s18 caformer_s18 tiny_vit_5m_224 pvt_v2_b1
""".split()
TIMM_VITS = {  # name: class tokens
    "vit_tiny_patch16_224": 1, "deit_tiny_patch16_224": 1, "deit_tiny_distilled_patch16_224": 2,
    "vit_small_patch14_reg4_dinov2": 5, "eva02_tiny_patch14_224": 1, "cait_xxs24_224": 0,
    "xcit_nano_12_p16_224": 0, "beit_base_patch16_224": 1, "vit_tiny_r_s16_p8_224": 1,
    "vit_base_patch16_siglip_224": 0, "mixer_s16_224": 0,
}  # fmt: skip
TIMM_WINDOWS = """
swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 pvt_v2_b0 maxvit_rmlp_pico_rw_256
coatnet_nano_rw_224 twins_pcpvt_small davit_tiny nest_tiny hiera_tiny_224 levit_128s
""".split()
# of the size that they are made for; name: class tokens (None: maps), height and width of a token
TIMM_FIXED: dict[str, tuple[int | None, int]] = {
    "resmlp_12_224": (0, 16), "gmlp_ti16_224": (0, 16), "gmixer_12_224": (0, 16),
    "convit_tiny": (1, 16), "vit_medium_patch16_reg4_gap_256": (4, 16),
    "vit_relpos_small_patch16_224": (0, 16), "vit_srelpos_small_patch16_224": (0, 16),
    "tnt_s_patch16_224": (1, 16), "deit3_small_patch16_224": (1, 16),
    "vit_small_patch16_18x2_224": (1, 16), "crossvit_tiny_240": (1, 12), "pit_ti_224": (1, 0),
    "coat_lite_tiny": (1, 32), "mvitv2_tiny": (0, 32), "vitamin_small_224": (0, 16),
    "twins_svt_small": (None, 0), "swinv2_cr_tiny_224": (None, 0), "swin_s3_tiny_224": (None, 0),
    "levit_conv_128s": (None, 0), "botnet26t_256": (None, 0), "efficientvit_m0": (None, 0),
    "swiftformer_xs": (None, 0), "visformer_tiny": (None, 0), "volo_d1_224": (None, 0),
    "sequencer2d_s": (None, 0), "gcvit_xxtiny": (None, 0), "efficientformerv2_s0": (None, 0),
}  # fmt: skip
_LAST = ("swin", "focal", "nest", "hiera", "volo", "sequencer")  # channels stand last in these


def _timm_stage(net: nn.Module) -> str:
    info: Any = net.feature_info
    path = str(info[-1]["module"] if isinstance(info, list) else info.module_name(-1))
    modules = dict(net.named_modules())
    for word in ("block", "blocks", "stages"):  # timm names some of them otherwise
        path = path if path in modules else path.replace(path.split(".", maxsplit=1)[0], word, 1)
    module = modules[path]
    return f"{path}.{len(module) - 1}" if isinstance(module, nn.ModuleList) else path


def _timm(name: str, shape: tuple[int, int, int] = IMAGE, **options: Any) -> Subject:
    def build() -> nn.Module:
        import timm

        net: nn.Module = timm.create_model(name, num_classes=CLASSES, **options)
        return net

    grid = {"r_s16_p8": 32, "patch14": 14, "patch16": 16, "p16": 16, "s16": 16, "p8": 8}
    patch = next((n for word, n in grid.items() if word in name), 0)
    tokens, patch = TIMM_FIXED.get(name, (TIMM_VITS.get(name), patch if name in TIMM_VITS else 0))
    last = name.startswith(_LAST) and not name.startswith(("focal", "swinv2_cr", "swiftformer"))
    return Subject("timm", name, build, shape, _timm_stage, tokens, last, patch)


def timm_models() -> Iterator[Subject]:
    """Yield networks of timm."""
    for name in TIMM_CONVNETS:
        yield _timm(name, (3, 224, 224) if name.startswith("efficientformer") else IMAGE)
    for name in TIMM_VITS:
        if name.startswith(("vit_base", "beit")):
            yield _timm(name, (3, 96, 128), img_size=(96, 128), depth=3)
        elif name.startswith("vit_tiny_r"):
            yield _timm(name, (3, 224, 224))
        elif name.startswith(("cait", "xcit", "eva")):
            yield _timm(name, (3, 112, 112), img_size=112)
        else:
            side = 14 if "patch14" in name else 16
            yield _timm(name, (3, 6 * side, 8 * side), img_size=(6 * side, 8 * side))
    for name in TIMM_WINDOWS:
        if name.startswith("swinv2"):
            yield _timm(name, (3, 128, 128), img_size=128, window_size=4)
        elif name.startswith(("swin", "maxvit", "coatnet")):
            yield _timm(name, (3, 224, 224), img_size=224)
        elif name.startswith(("nest", "hiera", "levit")):
            yield _timm(name, (3, 224, 224))
        else:
            yield _timm(name, (3, 96, 128))
    for name in TIMM_FIXED:
        side = {"256": 256, "240": 240}.get(name[-3:], 224)
        yield _timm(name, (3, side, side))


TORCHVISION = {  # name: the stage, and the input where it is another
    "resnet18": "layer4", "wide_resnet50_2": "layer4", "resnext50_32x4d": "layer4",
    "vgg11": "features.19", "vgg11_bn": "features.27", "alexnet": "features.11",
    "squeezenet1_0": "features", "squeezenet1_1": "features", "densenet121": "features.denseblock4",
    "googlenet": "inception5b", "inception_v3": "Mixed_7c", "mobilenet_v2": "features.17",
    "mobilenet_v3_small": "features.11", "shufflenet_v2_x0_5": "stage4", "mnasnet0_5": "layers.13",
    "efficientnet_b0": "features.7", "efficientnet_v2_s": "features.6",
    "regnet_x_400mf": "trunk_output.block4", "regnet_y_400mf": "trunk_output.block4",
    "convnext_tiny": "features.7", "vit_b_32": "encoder.layers.encoder_layer_11",
    "swin_t": "features.7", "swin_v2_t": "features.7", "maxvit_t": "blocks.3",
}  # fmt: skip
DENSE = {
    "segmentation.fcn_resnet50": "backbone.layer4",
    "segmentation.deeplabv3_mobilenet_v3_large": "backbone.16",
    "segmentation.lraspp_mobilenet_v3_large": "backbone.16",
}
VIDEO = {
    "video.r3d_18": "layer4", "video.mc3_18": "layer4", "video.r2plus1d_18": "layer4",
    "video.s3d": "features.15", "video.swin3d_t": "features.6",
}  # fmt: skip


def _torchvision(name: str, stage: str) -> Subject:
    def build() -> nn.Module:
        import torchvision

        *folders, last = name.split(".")
        home: Any = torchvision.models
        for folder in folders:
            home = getattr(home, folder)
        options: dict[str, Any] = {"num_classes": CLASSES}
        if last in ("googlenet", "inception_v3"):
            options |= {"aux_logits": False, "init_weights": False}
        if last == "vit_b_32":
            options["image_size"] = 128
        if folders == ["segmentation"]:
            options["weights_backbone"] = None
        net: nn.Module = getattr(home, last)(weights=None, **options)
        return net

    shape: tuple[int, ...] = {
        "vit_b_32": (3, 128, 128), "maxvit_t": (3, 224, 224), "inception_v3": (3, 128, 160),
        "alexnet": (3, 224, 224), "vgg11": (3, 224, 224), "vgg11_bn": (3, 224, 224),
    }.get(name, IMAGE)  # fmt: skip
    if name.startswith("video"):
        shape = (3, 16, 224, 224) if name.endswith("s3d") else (3, 8, 48, 64)
    pick = (lambda y: y["out"]) if name.startswith("segm") else (lambda y: y)
    tokens, grid = (1, 32) if name == "vit_b_32" else (None, 0)
    last = "swin" in name
    return Subject("torchvision", name, build, shape, stage, tokens, last, grid, pick)


def torchvision_models() -> Iterator[Subject]:
    """Yield networks of torchvision: classification, segmentation and video."""
    for name, stage in {**TORCHVISION, **DENSE, **VIDEO}.items():
        yield _torchvision(name, stage)


def every(libraries: list[str] | None = None) -> list[Subject]:
    """Return the networks of these libraries (all of them by default)."""
    from survey import more

    makers: dict[str, Callable[[], Iterator[Subject]]] = {
        "timm": timm_models,
        "torchvision": torchvision_models,
        "transformers": more.transformers_models,
        "ultralytics": more.ultralytics_models,
        "smp": more.smp_models,
        "monai": more.monai_models,
        "keras": partial(more.keras_models, CLASSES),
    }
    return [s for name in libraries or makers for s in makers[name]()]
