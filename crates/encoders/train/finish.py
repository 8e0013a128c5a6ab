"""Writes both encoders as ONNX.

    python finish.py copy RUN.pt data.csv PICTURES ../weights/copy.onnx
    python finish.py semantic ../weights/semantic.onnx

copy: the averaged weights of a run, and a whitening that is folded into the projection. It is fitted
on 1,500 of the training pictures. semantic: no training. The features of EfficientNet-lite0 along
the 384 directions in which the weights of its classifier differ most.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import export
from encoders import LITE, Onnx
from model import Encoder, classifier, pretrained
from train import DIMS, POWER, End

SIDE, FLOOR, SEMANTIC = 224, 0.01, 384


def trained(path, which="average"):
    encoder = Encoder(pretrained("lite0"), DIMS, POWER)
    End(encoder).load_state_dict(torch.load(path, weights_only=True)[which])
    return encoder


def whiten(encoder, x, floor=FLOOR):
    """Folds a whitening of the outputs `x` into the projection. Directions that hardly vary are
    held back: `floor` of the largest variance is added to all."""
    x = torch.from_numpy(x.astype(np.float64))
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((x - mean).T))
    matrix = (vectors / (values + floor * values[-1]).sqrt()).T.flip(0)
    weight, bias = encoder.project.weight.data.double(), encoder.project.bias.data.double()
    encoder.project.weight.data = (matrix @ weight).float()
    encoder.project.bias.data = (matrix @ (bias - mean)).float()


def vectors(path, files):
    """Outputs of an ONNX file, not normalised."""
    encoder = Onnx(path, SIDE, SIDE, True, *LITE)
    out = []
    for start in range(0, len(files), 32):
        pixels = [encoder.prepare(Image.open(file).convert("RGB")) for file in files[start : start + 32]]
        out.append(encoder.session.run([encoder.output], {encoder.input: np.stack(pixels)})[0])
    return np.concatenate(out)


def copy(run, listed, pictures, out):
    encoder = trained(run)
    export.export(encoder, SIDE, out, "not whitened yet")
    blobs = sorted({row["blob"] for row in csv.DictReader(open(listed))})
    drawn = np.random.default_rng(17).permutation([n for n in range(len(blobs)) if n % 8 != 7])[:1500]
    files = [file for number in drawn if (file := Path(pictures) / f"{blobs[number]}.jpg").exists()]
    whiten(encoder, vectors(out, files))
    export.export(encoder, SIDE, out, "Copy detection: EfficientNet-lite0 trained with edited views; squash to 224")


def semantic(out):
    encoder = Encoder(pretrained("lite0"), SEMANTIC, POWER)
    weight = classifier("lite0")[0].double()
    _, directions = torch.linalg.eigh(torch.cov(weight.T))
    encoder.project.weight.data = directions.flip(1)[:, :SEMANTIC].T.float()
    encoder.project.bias.data.zero_()
    export.export(encoder, SIDE, out, "What is on a picture: EfficientNet-lite0; shorter side to 224, middle")


if __name__ == "__main__":
    {"copy": copy, "semantic": semantic}[sys.argv[1]](*sys.argv[2:])
