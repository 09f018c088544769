"""A small network of every kind, with seeded weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from kinds.files import halved, in_half, in_int8, rounded
from kinds.kind import Kind, Outputs, exported
from kinds.tree import Trees, file

CLASSES = 4
KINDS: dict[str, Callable[[], Kind]] = {}


def kind(name: str) -> Callable[[Callable[[], Kind]], Callable[[], Kind]]:
    """Enter a kind; its weights are of a seed of its own."""

    def enter(make: Callable[[], Kind]) -> Callable[[], Kind]:
        def seeded() -> Kind:
            torch.manual_seed(sum(map(ord, name)))
            made = make()
            made.module.eval()
            for norm in (m for m in made.module.modules() if isinstance(m, nn.LayerNorm)):
                nn.init.uniform_(norm.weight, 0.5, 1.5)  # with gains of 1 its channels sum to 0
                nn.init.uniform_(norm.bias, -0.5, 0.5)
            return made

        KINDS[name] = seeded
        return make

    return enter


def first(outputs: Outputs) -> Tensor:
    """Return the first output."""
    return outputs[0]


def logits(outputs: Outputs) -> Tensor:
    """Stand for what a network keeps as its logits, which no output shows."""
    raise NotImplementedError


def body(channels: int = 3, space: int = 2, width: int = 8) -> nn.Sequential:
    conv: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[space - 1]
    return nn.Sequential(
        conv(channels, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        conv(6, width, 3, padding=1),
        nn.ReLU(),
    )


class Pooled(nn.Module):
    """A convolutional body, pooled, and a linear layer; and what is done with that."""

    def __init__(self, space: int = 2, last: nn.Module | None = None, out: int = CLASSES) -> None:
        super().__init__()
        self.body, self.head = body(3, space), nn.Linear(8, out)
        self.last, self.axes = last or nn.Identity(), tuple(range(2, 2 + space))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        self.logits = self.head(self.body(x).mean(self.axes))
        found: Tensor = self.last(self.logits)
        return found


def picture(*more: int) -> Tensor:
    return torch.randn(1, 3, *(more or (12, 12)))


@kind("CNN")
def cnn() -> Kind:
    return Kind(
        "CNN", "convolutions, a pool, a linear layer, Softmax", Pooled(last=nn.Softmax(1)),
        {"x": picture()}, ("prob",), logits, "body", final="softmax",
    )  # fmt: skip


@kind("multi-label CNN")
def multi_label() -> Kind:
    return Kind(
        "multi-label CNN", "the same with a Sigmoid", Pooled(last=nn.Sigmoid()),
        {"x": picture()}, ("prob",), logits, "body", final="sigmoid",
    )  # fmt: skip


class Block(nn.Module):
    """A block of a transformer, spelled out as library code does."""

    def __init__(self, width: int, heads: int = 2, causal: int = 0) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.heads = heads
        self.register_buffer("mask", torch.full((causal, causal), -1e4).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens."""
        n, t, d = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        a = q @ k.transpose(-2, -1) / math.sqrt(d // self.heads)
        a = (a + self.mask if len(self.mask) else a).softmax(-1)
        x = x + self.proj((a @ v).transpose(1, 2).reshape(n, t, d))
        found: Tensor = x + self.mlp(self.norm2(x))
        return found


class Vit(nn.Module):
    """Patches, a class token, two blocks, and a linear layer on the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Parameter(torch.randn(1, 10, 8) / 3)
        self.blocks = nn.Sequential(Block(8), Block(8))
        self.norm, self.norm1, self.head = nn.LayerNorm(8), nn.LayerNorm(8), nn.Linear(8, CLASSES)
        self.last = Block(8)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        t = self.patch(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.token.expand(t.shape[0], -1, -1), t], 1) + self.places
        found: Tensor = self.head(self.norm(self.last(self.blocks(t)))[:, 0])
        return found


@kind("ViT")
def vit() -> Kind:
    return Kind(
        "ViT", "patches, a class token, attention", Vit(), {"x": picture()}, ("logits",), first,
        "last.norm1", grid=lambda a: a[:, 1:].transpose(1, 2).reshape(-1, 8, 3, 3), channel=2,
    )  # fmt: skip


class Windows(nn.Module):
    """Two blocks of attention in windows, the second in shifted ones."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 2, 2)
        self.blocks = nn.ModuleList([Block(8), Block(8)])
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        t = self.patch(x).permute(0, 2, 3, 1)
        n, h, w, c = t.shape
        for shift, block in zip((0, 1), self.blocks, strict=True):
            t = torch.roll(t, (-shift, -shift), (1, 2))  # the first by nothing, as timm writes it
            parts = t.reshape(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5)
            parts = block(parts.reshape(-1, 4, c)).reshape(n, h // 2, w // 2, 2, 2, c)
            t = torch.roll(
                parts.permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c), (shift, shift), (1, 2)
            )
        found: Tensor = self.head(self.norm(t).mean((1, 2)))
        return found


@kind("Swin")
def swin() -> Kind:
    return Kind(
        "Swin", "attention in shifted windows", Windows(), {"x": picture()}, ("logits",), first,
        "norm", grid=lambda a: a.permute(0, 3, 1, 2), channel=3,
    )  # fmt: skip


@kind("1-D")
def signal() -> Kind:
    return Kind(
        "1-D", "convolutions over time", Pooled(1), {"x": picture(20)}, ("logits",), first, "body",
        letters="NCW",
    )  # fmt: skip


@kind("3-D")
def volume() -> Kind:
    return Kind(
        "3-D", "convolutions over a volume", Pooled(3), {"x": picture(6, 8, 8)}, ("logits",), first,
        "body", letters="NCDHW",
    )  # fmt: skip


class Clip(nn.Module):
    """Frames merged with the batch, and the mean over them."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a clip [N, T, 3, H, W]."""
        n, t = x.shape[:2]
        a = self.body(x.reshape(n * t, *x.shape[2:])).mean((2, 3))
        found: Tensor = self.head(a.reshape(n, t, -1).mean(1))
        return found


@kind("video")
def video() -> Kind:
    return Kind(
        "video", "frames merged with the batch", Clip(), {"x": torch.randn(1, 4, 3, 8, 8)},
        ("logits",), first, "body", grid=lambda a: a.transpose(0, 1)[None],
        letters="NDCHW",
    )  # fmt: skip


class Segmenter(nn.Module):
    """A score of every class at every pixel, enlarged."""

    def __init__(self, out: int = CLASSES) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Conv2d(8, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, C, H, W]."""
        small = self.head(self.body(x))
        return F.interpolate(small, scale_factor=2.0, mode="bilinear", align_corners=False)


@kind("segmentation")
def segmentation() -> Kind:
    return Kind(
        "segmentation", "scores of every pixel, enlarged", Segmenter(), {"x": picture()},
        ("masks",), first, "body",
    )  # fmt: skip


class Heatmaps(nn.Module):
    """A heat map of every key point."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.ConvTranspose2d(8, CLASSES, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, K, H, W]."""
        found: Tensor = self.head(self.body(x))
        return found


@kind("keypoints")
def keypoints() -> Kind:
    return Kind(
        "keypoints", "a heat map of every key point", Heatmaps(), {"x": picture()}, ("heatmaps",),
        first, "body",
    )  # fmt: skip


@kind("regression")
def regression() -> Kind:
    return Kind(
        "regression", "one number, which is no class", Pooled(out=1), {"x": picture()},
        ("angle",), first, "body",
    )  # fmt: skip


class Embedder(nn.Module):
    """An embedding of length one."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, D]."""
        return F.normalize(self.head(self.body(x).mean((2, 3))), dim=1)


@kind("embedding")
def embedding() -> Kind:
    return Kind(
        "embedding", "a vector of length one", Embedder(), {"x": picture()}, ("embedding",), first,
        "body", classes=False,
    )  # fmt: skip


class TwoSides(nn.Module):
    """A picture and texts, compared in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.words = Embedder(), nn.Embedding(11, 6)
        self.texts = nn.Sequential(Block(6), nn.Linear(6, 6))

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Outputs:
        """Return pictures against texts, texts against pictures, and both embeddings."""
        image = self.picture(pixel_values)
        text = F.normalize(self.texts(self.words(input_ids)).mean(1), dim=1)
        scores = 5 * image @ text.T
        return scores, scores.T, text, image


def _clip_inputs() -> dict[str, Tensor]:
    return {"pixel_values": picture(), "input_ids": torch.randint(0, 11, (3, 5))}


_CLIP = ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds")


@kind("CLIP, picture")
def clippicture() -> Kind:
    return Kind(
        "CLIP, picture", "a picture against three texts", TwoSides(), _clip_inputs(), _CLIP, first,
        "picture.body", options={"reduction_layer": "logits_per_image"},
    )  # fmt: skip


@kind("CLIP, text")
def clip_text() -> Kind:
    pictures = torch.randn(3, 3, 12, 12)
    inputs = {"input_ids": torch.randint(0, 11, (1, 5)), "pixel_values": pictures}

    class Turned(TwoSides):
        def forward(self, input_ids: Tensor, pixel_values: Tensor) -> Outputs:  # type: ignore
            return super().forward(pixel_values, input_ids)

    return Kind(
        "CLIP, text", "a text against three pictures", Turned(), inputs, _CLIP, lambda y: y[1],
        "texts", grid=lambda a: a.transpose(1, 2), letters="NW", channel=2,
        options={"reduction_layer": "logits_per_text", "input": "input_ids"},
    )  # fmt: skip


class Ctc(nn.Module):
    """Log-probabilities of letters at every frame, time first."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(3, 1), nn.Conv1d(8, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [T, N, C]."""
        self.logits = self.head(self.body(x))
        return self.logits.permute(2, 0, 1).log_softmax(-1)


@kind("CTC")
def ctc() -> Kind:
    return Kind(
        "CTC", "letters at every frame, [T, N, C]", Ctc(), {"x": picture(20)}, ("log_prob",),
        logits, "body", letters="NCW", sure=lambda y: y[0].permute(1, 2, 0).exp(),
    )  # fmt: skip


class Language(nn.Module):
    """Tokens in, scores of the vocabulary at every token out."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(9, 8), nn.Parameter(torch.randn(1, 6, 8) / 3)
        self.block = Block(8, causal=6 if causal else 0)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 9)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return [N, T, V]."""
        found: Tensor = self.head(self.norm(self.block(self.words(input_ids) + self.places)))
        return found


def _language(name: str, causal: bool, what: str) -> Kind:
    return Kind(
        name, what, Language(causal), {"input_ids": torch.randint(0, 9, (1, 6))}, ("logits",),
        lambda y: y[0].transpose(1, 2), "norm", grid=lambda a: a.transpose(1, 2), letters="NW",
        channel=2,
    )  # fmt: skip


@kind("causal LM")
def causal() -> Kind:
    return _language("causal LM", True, "tokens that see those before them")


@kind("masked LM")
def masked() -> Kind:
    return _language("masked LM", False, "tokens that see all others")


@kind("tabular")
def tabular() -> Kind:
    layers = nn.Sequential(nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    return Kind(
        "tabular", "a multilayer perceptron of seven features", layers, {"x": torch.randn(1, 7)},
        ("logits",), first, letters="NW",
    )  # fmt: skip


class Recurrent(nn.Module):
    """A GRU whose last state is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(3, 8, batch_first=True), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        found: Tensor = self.head(self.gru(x)[0][:, -1])
        return found


@kind("recurrent")
def recurrent() -> Kind:
    return Kind(
        "recurrent", "a GRU, its last state", Recurrent(), {"x": torch.randn(1, 9, 3)}, ("logits",),
        first, "input", grid=lambda a: a.transpose(1, 2), letters="NWC", channel=2,
    )  # fmt: skip


class Streaming(nn.Module):
    """A chunk of a signal and a state; a probability and the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.keep = body(1, 1), nn.Linear(8, 1), nn.Linear(8, 8)

    def forward(self, chunk: Tensor, state: Tensor) -> Outputs:
        """Return the probability of speech, and the state."""
        a = self.body(chunk).mean(2) + state
        self.logits = self.head(a)
        return self.logits.sigmoid(), torch.tanh(self.keep(a))


@kind("streaming")
def streaming() -> Kind:
    return Kind(
        "streaming", "a chunk and a state, which starts at zero", Streaming(),
        {"chunk": torch.randn(1, 1, 20), "state": torch.zeros(1, 8)}, ("prob", "state_out"),
        logits, "body", final="sigmoid", letters="NCW",
    )  # fmt: skip


class Graph(nn.Module):
    """Two rounds of messages between nodes, and a score of the whole graph."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.act = nn.Linear(5, 8), nn.Linear(8, 8), nn.ReLU()
        self.head = nn.Linear(8, CLASSES)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """Return [1, C]."""
        a = torch.relu(adjacency @ self.one(nodes))
        a = self.act(adjacency @ self.two(a))
        found: Tensor = self.head(a.mean(0, keepdim=True))
        return found


@kind("GNN")
def gnn() -> Kind:
    return Kind(
        "GNN", "messages between six nodes", Graph(),
        {"nodes": torch.randn(6, 5), "adjacency": torch.rand(6, 6).softmax(1)}, ("logits",), first,
        "act", grid=lambda a: a.T[None], letters="WC",
    )  # fmt: skip


class Policy(nn.Module):
    """Actions and a value."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.actor, self.critic = body(), nn.Linear(8, CLASSES), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Outputs:
        """Return the logits of actions, and the value."""
        a = self.body(x).mean((2, 3))
        return self.actor(a), self.critic(a)


@kind("policy")
def policy() -> Kind:
    return Kind(
        "policy", "logits of actions, and a value", Policy(), {"x": picture()},
        ("action_logits", "value"), first, "body",
    )  # fmt: skip


class Beside(nn.Module):
    """A picture, and numbers beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(8 + 3, CLASSES)

    def forward(self, x: Tensor, facts: Tensor) -> Tensor:
        """Return the logits."""
        found: Tensor = self.head(torch.cat([self.body(x).mean((2, 3)), facts], 1))
        return found


@kind("multi-input")
def multi_input() -> Kind:
    return Kind(
        "multi-input", "a picture, and numbers beside it", Beside(),
        {"x": picture(), "facts": torch.randn(1, 3)}, ("logits",), first, "body",
    )  # fmt: skip


@kind("fp16")
def half() -> Kind:
    return Kind(
        "fp16", "a CNN in half precision", halved(Pooled()), {"x": picture().half().float()},
        ("logits",), first, "body", change=in_half, exact=2e-2, rounding=2**-13,
    )  # fmt: skip


@kind("int8")
def int8() -> Kind:
    plain = Kind(
        "int8", "a CNN in int8, QDQ", Pooled(), {"x": picture()}, ("logits",), first, "body",
    )  # fmt: skip
    return replace(  # one value in a hundred may be rounded the other way, by one step
        plain,
        file=in_int8(exported(plain)),
        module=rounded(plain.module),
        exact=3e-2,
        rounding=1e-3,
    )


@kind("tree ensemble")
def trees() -> Kind:
    return Kind(
        "tree ensemble", "two trees, which have no gradient", Trees(), {"x": torch.randn(1, 5)},
        ("scores",), first, file=file(), letters="NW",
    )  # fmt: skip
