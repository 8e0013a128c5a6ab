"""Encoders to judge: ONNX files with their preprocessing, and perceptual hashes."""

import numpy as np
from PIL import Image

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)


def prepare(image, resize, side, squash, mean, std, kernel=Image.BICUBIC):
    """What lvd does with a picture: both sides or the shorter one to `resize`, a square of `side`
    from the middle, ImageNet's or another mean and deviation."""
    w, h = image.size
    if squash:
        image = image.resize((resize, resize), kernel)
    elif w <= h:
        image = image.resize((resize, resize * h // w), kernel)
    else:
        image = image.resize((resize * w // h, resize), kernel)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    image = image.crop((left, top, left + side, top + side))
    pixels = np.asarray(image, np.float32) / 255
    return ((pixels - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)


class Onnx:
    def __init__(self, path, resize, side, squash, mean, std, output=None, kernel=Image.BICUBIC, threads=2):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait do not burn the time of other programs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.output = output or self.session.get_outputs()[0].name
        self.recipe = (resize, side, squash, mean, std, kernel)

    def prepare(self, image):
        return prepare(image, *self.recipe)

    def encode(self, prepared):
        (found,) = self.session.run([self.output], {self.input: np.stack(prepared)})
        return unit(found.reshape(len(prepared), -1))


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


class Hash:
    """Bits as -1 and 1: the cosine is 1 - 2 x the share of bits that differ."""

    def __init__(self, kind):
        self.kind = kind

    def prepare(self, image):
        import imagehash
        import pdqhash

        if self.kind == "pdq":
            bits = pdqhash.compute(np.asarray(image))[0]
        else:
            bits = getattr(imagehash, self.kind)(image).hash.ravel()
        return np.where(np.asarray(bits, bool), 1.0, -1.0).astype(np.float32)

    def encode(self, prepared):
        return unit(np.stack(prepared))


class Whitening:
    """Mean out, principal directions scaled to the same deviation; as `whiten = true` does."""

    def __init__(self, x, dims=None):
        x = x.astype(np.float64)
        self.mean = x.mean(0)
        values, vectors = np.linalg.eigh(np.cov((x - self.mean).T))
        order = np.argsort(values)[::-1][:dims]
        values = values[order]
        keep = values > 1e-6 * values[0]
        self.matrix = vectors[:, order][:, keep] / np.sqrt(values[keep] + 1e-4 * values[0])

    def __call__(self, x):
        return unit((x - self.mean) @ self.matrix).astype(np.float32)
