"""The peers' side of embed.sh: an untrained ViT in torch and as ONNX, and the loops that people write around one. Prints seconds."""
import concurrent.futures
import pathlib
import sys
import time

import numpy as np
import PIL.Image
import torch

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
SIDE, PATCH, WIDTH, DEPTH, HEADS = 224, 14, 384, 12, 6
THREADS = 2
BATCHES = (1, 8, 32)


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = torch.nn.LayerNorm(WIDTH), torch.nn.LayerNorm(WIDTH)
        self.qkv, self.out = torch.nn.Linear(WIDTH, 3 * WIDTH), torch.nn.Linear(WIDTH, WIDTH)
        self.up, self.down = torch.nn.Linear(WIDTH, 4 * WIDTH), torch.nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        n, tokens, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(n, tokens, WIDTH))
        return x + self.down(torch.nn.functional.gelu(self.up(self.norm2(x))))


class Vit(torch.nn.Module):
    """The sizes of ViT-S/14 (DINOv2-S); random weights, which cost what trained ones do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches = torch.nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.first = torch.nn.Parameter(torch.randn(1, 1, WIDTH))
        self.places = torch.nn.Parameter(torch.randn(1, (SIDE // PATCH) ** 2 + 1, WIDTH) * 0.2)
        self.blocks = torch.nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm = torch.nn.LayerNorm(WIDTH)

    def forward(self, pixels):
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], dim=1) + self.places
        return self.norm(self.blocks(x))[:, 0]


def load(path):
    picture = PIL.Image.open(path).convert("RGB")
    short = min(picture.size)
    size = [256 * side // short for side in picture.size]
    picture = picture.resize(size, PIL.Image.Resampling.BICUBIC)
    left, top = (round((side - SIDE) / 2) for side in size)
    pixels = np.asarray(picture.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255
    return ((pixels - MEAN) / STD).transpose(2, 0, 1)


def photos(folder):
    return sorted(path for path in pathlib.Path(folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))


def embed(run, folder, batch, out):
    """Threads load ahead, the model runs batch after batch; vectors of unit norm are saved as fp16."""
    files, rows = photos(folder), []
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        ahead = 4 * max(batch, 8)
        loads = [pool.submit(load, path) for path in files[:ahead]]
        for start in range(0, len(files), batch):
            pixels = np.stack([load.result() for load in loads[start:start + batch]])
            loads[start:start + batch] = [None] * len(pixels)
            loads += [pool.submit(load, path) for path in files[len(loads):len(loads) + batch]]
            vectors = run(pixels)
            vectors = vectors[:, 0] if vectors.ndim == 3 else vectors
            rows.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    np.save(out, np.concatenate(rows).astype(np.float16))


def fastest(name, prepare, folder, out):
    """The best of several batch sizes, each timed from opening the model to the saved file."""
    best = None
    for batch in BATCHES:
        start = time.perf_counter()
        embed(prepare(), folder, batch, out)
        seconds = time.perf_counter() - start
        print(f"{name} in batches of {batch}: {seconds:.2f} s", file=sys.stderr)
        best = min(best or seconds, seconds)
    print(f"seconds={best}")


def with_onnxruntime(model, folder, out, provider="CPUExecutionProvider", settings=None):
    import onnxruntime

    def prepare():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = THREADS, 3
        session = onnxruntime.InferenceSession(model, options, providers=[(provider, settings or {})])
        name = session.get_inputs()[0].name
        return lambda pixels: session.run(None, {name: pixels})[0]

    fastest(provider, prepare, folder, out)


def with_openvino(model, folder, out):
    import json

    precision = json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": "f32"}})
    settings = {"device_type": "CPU", "num_of_threads": str(THREADS), "load_config": precision}
    with_onnxruntime(model, folder, out, "OpenVINOExecutionProvider", settings)


def with_torch(weights, folder, out):
    torch.set_num_threads(THREADS)

    def prepare():
        model = Vit().eval()
        model.load_state_dict(torch.load(weights))

        def run(pixels):
            with torch.inference_mode():
                return model(torch.from_numpy(pixels)).numpy()

        return run

    fastest("torch", prepare, folder, out)


def make(model, weights):
    vit = Vit().eval()
    torch.save(vit.state_dict(), weights)
    batch = torch.export.Dim("batch", min=1, max=1024)
    torch.onnx.export(
        vit, (torch.zeros(2, 3, SIDE, SIDE),), model, input_names=["pixels"], output_names=["vectors"],
        dynamic_shapes=({0: batch},), dynamo=True, external_data=False, verbose=False,
    )


def quantise(model, out):
    import onnxruntime.quantization as quantization

    products = ["MatMul", "Gemm"]
    quantization.quantize_dynamic(model, out, op_types_to_quantize=products, weight_type=quantization.QuantType.QInt8, per_channel=True)


def ours(table):
    """Our vectors, in the order of the files' names."""
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(table)["embedding"].to_pylist()
    return np.stack([np.frombuffer(row, np.float16) for row in rows]).astype(np.float32)


def cosine(table, other):
    a, b = ours(table), (ours(other) if not other.endswith(".npy") else np.load(other).astype(np.float32))
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    print(f"least={cosines.min():.6f} median={np.median(cosines):.6f}")


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    commands = {"make": make, "quantise": quantise, "onnxruntime": with_onnxruntime, "openvino": with_openvino, "torch": with_torch, "cosine": cosine}
    commands[name](*arguments)
