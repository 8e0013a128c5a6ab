"""Reads a work folder as its users do; run by tests/readers.rs with the work folder of the example."""

import glob
import io
import sys

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
from PIL import Image

work = sys.argv[1]
files = f"{work}/export/data/*.parquet"

hf = datasets.load_dataset("parquet", data_files=files, split="train")
assert isinstance(hf.features["image"], datasets.Image), hf.features
first = hf[0]
assert isinstance(first["image"], Image.Image)
if first["orientation"] == 1:
    assert first["image"].size == (first["width"], first["height"])

frame = pd.concat(pd.read_parquet(path) for path in sorted(glob.glob(files)))
Image.open(io.BytesIO(frame.iloc[0]["image"]["bytes"])).verify()
assert frame["id"].is_unique

assert pl.read_parquet(files).height == len(frame) == len(hf)

(rows, ids), = duckdb.sql(f"select count(*), count(distinct id) from '{files}'").fetchall()
assert rows == ids == len(frame)
by_why = dict(duckdb.sql(f"select why, sum(images)::bigint from '{work}/export/composition.parquet' group by 1").fetchall())
assert by_why == frame["why"].value_counts().to_dict(), by_why

# A report adds up, whoever adds.
for step in ["ingest", "embed", "dedup", "sample", "export"]:
    (left,), = duckdb.sql(
        f"select sum(coalesce(rows_in, 0)::bigint - coalesce(rows_out, 0) - coalesce(count, 0)) from '{work}/{step}/report.parquet'"
    ).fetchall()
    assert left == 0, (step, left)

# Vectors: the call in docs/tables.md.
table = ds.dataset(sorted(glob.glob(f"{work}/embed/copy/*.parquet")), format="parquet").to_table()
vectors = np.stack([np.frombuffer(v, np.float16) for v in table["embedding"].to_pylist()])
assert vectors.shape == (table.num_rows, int(table.schema.field("embedding").metadata[b"dimension"]))
assert np.allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=2e-3)
joined = duckdb.sql(f"select count(*) from '{work}/embed/copy/*.parquet' join '{work}/ingest/part-*.parquet' using (id, sha256)").fetchall()
assert joined == [(table.num_rows,)], joined

# Plain numbers: `lvd vectors`.
matrix, ids = np.load(f"{work}/copy.npy"), np.load(f"{work}/copy.ids.npy")
assert matrix.dtype == np.float32 and np.array_equal(matrix, vectors.astype(np.float32))
assert ids.dtype == np.uint64 and ids.tolist() == table["id"].to_pylist()
frame_of_lists = pd.read_parquet(f"{work}/copy.parquet")
assert np.array_equal(np.stack(frame_of_lists["embedding"]), matrix) and frame_of_lists["id"].tolist() == ids.tolist()
(nearest,), = duckdb.sql(
    f"select max(list_cosine_similarity(a.embedding, b.embedding)) from '{work}/copy.parquet' a, '{work}/copy.parquet' b where a.id < b.id and a.id < {ids[20]}"
).fetchall()
cosines = (matrix @ matrix.T)[:20]
assert abs(nearest - np.triu(cosines, 1).max()) < 2e-3, nearest

print(f"all readers agree on {len(frame)} images")
