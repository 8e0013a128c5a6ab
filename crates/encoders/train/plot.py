"""Draws the curve of a training: python plot.py curve.csv curve.svg"""

import csv
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

rows = list(csv.DictReader(open(sys.argv[1])))
figure, axes = plt.subplots(1, 2, figsize=(9, 3))
views = [int(row["views"]) / 1000 for row in rows]
axes[0].plot(views, [float(row["loss"]) for row in rows])
axes[0].set_ylabel("InfoNCE")
axes[1].plot(views, [float(row["found"]) for row in rows], label="partner is the nearest of 255")
axes[1].plot(views, [float(row["right"]) for row in rows], label="cosine with the partner")
axes[1].plot(views, [float(row["nearest"]) for row in rows], label="cosine with the nearest other")
axes[1].legend(fontsize=7)
for axis in axes:
    axis.set_xlabel("thousands of views")
figure.tight_layout()
figure.savefig(sys.argv[2])
