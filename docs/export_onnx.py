#!/usr/bin/env python3
"""Write an encoder as an ONNX file that an embedder of lvd can name.

    python3 export_onnx.py dinov2-b --output dinov2_b.onnx --check
    python3 export_onnx.py sscd --weights sscd_disc_mixup.torchscript.pt --output sscd.onnx --check
    python3 export_onnx.py clip-vit-b32 --random --output tiny.onnx --check

The input is N x 3 x H x W, fp32, already scaled by the preset's mean and deviation; the output is N x D, fp32. N is
free, and for SSCD H and W too. Needs torch, torchvision, transformers, onnx, onnxscript and onnxruntime.
"""

import argparse
import os
import sys

import torch
from torch import nn

# Values of a vector, edge of the crop, and what the weights are called at the Hugging Face Hub.
MODELS = {
    "dinov2-s": (384, 224, "facebook/dinov2-small"),
    "dinov2-b": (768, 224, "facebook/dinov2-base"),
    "dinov2-l": (1024, 224, "facebook/dinov2-large"),
    "dinov2-g": (1536, 224, "facebook/dinov2-giant"),
    "sscd": (512, 320, None),
    "clip-vit-b32": (512, 224, "openai/clip-vit-base-patch32"),
}
LAYERS = {"dinov2-s": 12, "dinov2-b": 12, "dinov2-l": 24, "dinov2-g": 40, "clip-vit-b32": 12}
OPSET = 18
# A protobuf file holds at most 2 GiB; larger weights go to a second file.
ONE_FILE_BYTES = 1_900_000_000


class ClassToken(nn.Module):
    """DINOv2: the first token after the last normalisation."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return self.model(pixel_values=pixels).last_hidden_state[:, 0]


class Projected(nn.Module):
    """CLIP: the image vector in the space that it shares with text."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return self.model(pixel_values=pixels).image_embeds


class Sscd(nn.Module):
    """SSCD (Pizzi et al. 2022): ResNet, generalised mean over the plane (exponent 3), linear to 512, unit norm."""

    def __init__(self, blocks, exponent=3.0):
        super().__init__()
        from torchvision.models.resnet import Bottleneck, ResNet

        self.backbone = ResNet(Bottleneck, blocks)
        self.backbone.avgpool = nn.Identity()
        self.backbone.fc = nn.Identity()
        self.project = nn.Linear(2048, 512)
        self.exponent = exponent

    def forward(self, pixels):
        r = self.backbone
        x = r.maxpool(r.relu(r.bn1(r.conv1(pixels))))
        x = r.layer4(r.layer3(r.layer2(r.layer1(x))))
        x = x.clamp(min=1e-6).pow(self.exponent).mean(dim=(2, 3)).pow(1.0 / self.exponent)
        return nn.functional.normalize(self.project(x))


def transformer(name, random):
    """An untrained DINOv2 or CLIP of this name; a random one has two layers, and everything else as it should be."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

    width, _, _ = MODELS[name]
    layers = 2 if random else LAYERS[name]
    if name == "clip-vit-b32":
        return CLIPVisionModelWithProjection(CLIPVisionConfig(num_hidden_layers=layers, projection_dim=width))
    giant = name == "dinov2-g"
    return Dinov2Model(
        Dinov2Config(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            image_size=518,
            patch_size=14,
            use_swiglu_ffn=giant,
        )
    )


def load(model, weights):
    """Puts a state dict into `model`. Only the text half of CLIP, and position numbers, may be left over."""
    if weights.endswith(".safetensors"):
        from safetensors.torch import load_file

        state = load_file(weights)
    else:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    missing, left = model.load_state_dict(state, strict=False)
    left = [k for k in left if not k.startswith(("text_", "logit_scale")) and not k.endswith("position_ids")]
    if missing or left:
        sys.exit(
            f"{weights}: {len(missing)} tensors are missing ({', '.join(missing[:3])}), {len(left)} are unknown"
            f" ({', '.join(left[:3])})\nhint: give the weights in the layout of the transformers library"
        )


def build(name, weights, random):
    """The module to export."""
    if name == "sscd":
        if random:
            return Sscd([1, 1, 1, 1])
        if not weights:
            sys.exit("sscd has no weights at the hub\nhint: give the TorchScript file of its authors by --weights")
        try:
            return torch.jit.load(weights, map_location="cpu")
        except RuntimeError as error:
            sys.exit(f"{weights}: not a TorchScript file: {error}")
    if random or (weights and not os.path.isdir(weights)):
        model = transformer(name, random)
        if weights:
            load(model, weights)
    else:
        model = type(transformer(name, True)).from_pretrained(weights or MODELS[name][2])
    return Projected(model) if name == "clip-vit-b32" else ClassToken(model)


def export(model, name, path):
    """Writes `model` to `path`."""
    edge = MODELS[name][1]
    free = {0: "n", 2: "h", 3: "w"} if name == "sscd" else {0: "n"}
    size = sum(t.numel() * t.element_size() for t in model.parameters())
    names = {"input_names": ["pixels"], "output_names": ["vector"], "opset_version": OPSET}
    pixels = torch.randn(2, 3, edge, edge)
    if isinstance(model, torch.jit.ScriptModule):
        axes = {"pixels": free, "vector": {0: "n"}}
        torch.onnx.export(model, (pixels,), path, dynamo=False, dynamic_axes=axes, **names)
    else:
        shapes = ({axis: torch.export.Dim(word) if axis == 0 else torch.export.Dim.DYNAMIC for axis, word in free.items()},)
        two = size > ONE_FILE_BYTES
        torch.onnx.export(model, (pixels,), path, dynamo=True, dynamic_shapes=shapes, external_data=two, **names)
    print(f"{path}: {sum(t.numel() for t in model.parameters()):,} parameters")


def check(model, name, path):
    """The least cosine between the vectors of PyTorch and of ONNX Runtime, on random pixels in batches of 1 and 5."""
    import onnx
    import onnxruntime

    width, edge, _ = MODELS[name]
    onnx.checker.check_model(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    least, apart = 1.0, 1.0
    for n in (1, 5):
        edges = (edge, 288) if name == "sscd" else (edge,)
        for e in edges:
            pixels = torch.randn(n, 3, e, e)
            expect = model(pixels)
            (got,) = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})
            if got.shape != (n, width):
                sys.exit(f"{path}: the output is {got.shape}, expected {(n, width)}")
            least = min(least, nn.functional.cosine_similarity(expect, torch.from_numpy(got)).min().item())
            if n > 1:
                unit = nn.functional.normalize(expect)
                apart = min(apart, (unit @ unit.T).min().item())
    # The second number says what the first is worth: vectors that do not depend on the pixels would agree too.
    print(f"least cosine: {least:.7f} (between two different inputs: {apart:.7f})")
    if not least > 0.9999:
        sys.exit(f"{path}: PyTorch and ONNX Runtime disagree: cosine {least:.7f}, expected at least 0.9999")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--output", required=True, help="the ONNX file to write")
    parser.add_argument(
        "--weights",
        help="SSCD: a TorchScript file. Others: a state dict (.bin, .pt, .safetensors) or a folder of the transformers"
        " library; left out, the Hugging Face Hub is asked",
    )
    parser.add_argument("--random", action="store_true", help="a small random model of the same build, to try things")
    parser.add_argument("--check", action="store_true", help="compare ONNX Runtime with PyTorch on random pixels")
    args = parser.parse_args()
    if args.random and args.weights:
        parser.error("--random and --weights exclude each other")
    torch.manual_seed(0)
    with torch.no_grad():
        model = build(args.model, args.weights, args.random).eval()
        export(model, args.model, args.output)
        if args.check:
            check(model, args.model, args.output)


if __name__ == "__main__":
    main()
