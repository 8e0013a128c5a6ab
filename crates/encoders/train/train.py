"""Trains the copy encoder: InfoNCE between edited views, on wish with a queue of older ones, and an
entropy term that spreads vectors (SSCD, Pizzi et al. 2022).

    python train.py VIEWS OUT.pt --minutes 60

Only the end of the backbone learns: the blocks after the cached front (views.py), the last
convolution and the projection. It goes on to read files of views while they are made.
"""

import argparse
import copy
import csv
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from model import Encoder, pretrained
from views import FRONT

SEED, DIMS, POWER = 17, 256, 3.0
HEAT, ENTROPY, QUEUE, PAIRS = 0.05, 1.0, 0, 128


class Views:
    """All files of views so far; draws two views of each of a number of pictures."""

    def __init__(self, folder, generator):
        self.folder, self.generator, self.known = folder, generator, {}
        self.pictures = self.hosts = np.zeros(0, np.int64)
        self.places = np.zeros((0, 2), np.int64)
        self.features = []

    def refresh(self):
        for path in sorted(self.folder.glob("*.npz")):
            if path.name in self.known:
                continue
            with np.load(path) as file:
                self.features.append(file["features"])
                n = len(file["pictures"])
                self.pictures = np.concatenate([self.pictures, file["pictures"]])
                self.hosts = np.concatenate([self.hosts, file["hosts"]])
            at = np.stack([np.full(n, len(self.features) - 1), np.arange(n)], 1)
            self.places = np.concatenate([self.places, at])
            self.known[path.name] = n
        order = np.argsort(self.pictures, kind="stable")
        self.order, sorted_pictures = order, self.pictures[order]
        self.distinct, self.first, self.count = np.unique(sorted_pictures, return_index=True, return_counts=True)

    def draw(self, pairs):
        chosen = self.generator.choice(len(self.distinct), pairs, replace=False)
        rows = []
        for one in chosen:
            rows.append(self.order[self.first[one] + self.generator.choice(self.count[one], 2, replace=False)])
        rows = np.stack(rows).T.ravel()
        x = np.stack([self.features[file][row] for file, row in self.places[rows]])
        return torch.from_numpy(x).float(), torch.from_numpy(self.pictures[rows]), torch.from_numpy(self.hosts[rows])


class End(torch.nn.Module):
    """What learns."""

    def __init__(self, encoder):
        super().__init__()
        self.blocks = encoder.backbone.blocks[FRONT:]
        self.last, self.project, self.power = encoder.backbone.last, encoder.project, encoder.power

    def features(self, x):
        for block in self.blocks:
            x = block(x)
        return self.last(x).clamp(min=1e-4).pow(self.power).mean((2, 3)).pow(1 / self.power)

    def forward(self, x):
        # Centred and scaled over the batch: else all vectors of a step gain a common part that
        # the queue does not have yet, which looks like finding the partner. The whitening of
        # finish.py takes its place.
        return F.normalize(F.batch_norm(self.project(self.features(x)), None, None, training=True), dim=1)


def start_projection(end, views):
    """The projection begins as the whitened principal directions of the untrained features."""
    x = torch.cat([end.features(views.draw(32)[0]) for _ in range(40)])
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((x - mean).T).double())
    values, vectors = values.flip(0)[:DIMS], vectors.flip(1)[:, :DIMS]
    weight = (vectors / (values + 0.01 * values[0]).sqrt()).T.float()
    end.project.weight.copy_(weight)
    end.project.bias.copy_(-weight @ mean)


def losses(y, pictures, hosts, queue, queue_pictures, queue_hosts):
    """InfoNCE of each view with its partner, and the entropy term."""
    n = len(y) // 2
    keys = torch.cat([y, queue])
    key_pictures, key_hosts = torch.cat([pictures, queue_pictures]), torch.cat([hosts, queue_hosts])
    sims = y @ keys.T
    # No negatives: the same picture, and a picture that is a view's host.
    same = pictures[:, None] == key_pictures[None]
    same |= (hosts[:, None] == key_pictures[None]) | (pictures[:, None] == key_hosts[None])
    same |= (hosts[:, None] == key_hosts[None]) & (hosts[:, None] >= 0)
    partner = torch.arange(2 * n).roll(n)
    right = sims[torch.arange(2 * n), partner]
    others = sims.masked_fill(same, -2)
    info = torch.logsumexp(torch.cat([right[:, None], others], 1) / HEAT, 1) - right / HEAT
    nearest = others.max(1).values
    entropy = -(2 - 2 * nearest).clamp(min=1e-4).sqrt().log()
    return info.mean(), entropy.mean(), right.mean(), nearest.mean(), (right > nearest).float().mean()


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("views", type=Path)
    parse.add_argument("out", type=Path)
    parse.add_argument("--minutes", type=float, default=60)
    parse.add_argument("--steps", type=int, default=10**9)
    parse.add_argument("--rate", type=float, default=1e-4)
    parse.add_argument("--threads", type=int, default=2)
    parse.add_argument("--resume", type=Path)
    options = parse.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(options.threads)
    generator = np.random.default_rng(SEED)
    views = Views(options.views, generator)
    views.refresh()
    encoder = Encoder(pretrained("lite0"), DIMS, POWER).to(memory_format=torch.channels_last)
    end = End(encoder)
    with torch.no_grad():
        start_projection(end, views)
    if options.resume:
        end.load_state_dict(torch.load(options.resume, weights_only=True)["plain"])
    average = copy.deepcopy(end)
    groups = [
        {"params": [p for n, p in end.named_parameters() if not n.startswith("project")], "scale": 1.0},
        {"params": list(end.project.parameters()), "scale": 2.0},
    ]
    adam = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), weight_decay=0.02)
    queue = torch.zeros(0, DIMS)
    queue_pictures = queue_hosts = torch.zeros(0, dtype=torch.int64)
    curve = csv.writer(open(options.out.with_suffix(".csv"), "w", newline=""), lineterminator="\n")
    curve.writerow(["step", "minutes", "views", "loss", "entropy", "right", "nearest", "found", "rate"])
    began, saved, sums = time.time(), time.time(), []

    def save():
        both = {"average": average.state_dict(), "plain": end.state_dict()}
        torch.save(both, options.out.with_suffix(".tmp"))
        options.out.with_suffix(".tmp").rename(options.out)

    for step in range(options.steps):
        minutes = (time.time() - began) / 60
        share = max(minutes / options.minutes, step / options.steps)
        if share >= 1:
            break
        # Up in 25 steps, then down along a cosine.
        now = min(1, (step + 1) / 25) * (0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2)
        for group in adam.param_groups:
            group["lr"] = options.rate * group["scale"] * now
        x, pictures, hosts = views.draw(PAIRS)
        y = end(x.to(memory_format=torch.channels_last))
        info, entropy, *told = losses(y, pictures, hosts, queue, queue_pictures, queue_hosts)
        (info + ENTROPY * entropy).backward()
        torch.nn.utils.clip_grad_norm_(end.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        queue = torch.cat([y.detach(), queue])[:QUEUE]
        queue_pictures = torch.cat([pictures, queue_pictures])[:QUEUE]
        queue_hosts = torch.cat([hosts, queue_hosts])[:QUEUE]
        # The average of the last steps, fewer in the beginning.
        keep = min(0.99, (step + 1) / (step + 10))
        with torch.no_grad():
            for a, b in zip(average.parameters(), end.parameters()):
                a.lerp_(b, 1 - keep)
        sums.append([info.item(), entropy.item(), *(value.item() for value in told)])
        if step % 10 == 9:
            means = [round(float(value), 4) for value in np.mean(sums, 0)]
            curve.writerow([step + 1, round(minutes, 2), 2 * PAIRS * (step + 1), *means, f"{options.rate * now:.2e}"])
            print(step + 1, f"{minutes:.1f} min", len(views.pictures), "views known", *means, flush=True)
            sums = []
        if time.time() - saved > 60:
            views.refresh()
            save()
            saved = time.time()
    save()


if __name__ == "__main__":
    main()
