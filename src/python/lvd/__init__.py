"""Tables and vectors of an `lvd` work folder, as Arrow and numpy.

    import lvd
    lvd.run("run", "photos.toml")
    ids, vectors = lvd.vectors("work/embed/copy")
    kept = lvd.table("work/dedup").filter("kept")

The program itself is `lvd` on the command line.
"""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["program", "run", "table", "vectors"]


def program():
    """The path of the program that came with this package, or of the one on the PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "lvd"
    found = str(beside) if beside.is_file() else shutil.which("lvd")
    if found is None:
        raise FileNotFoundError("there is no program `lvd`: pip install lvd, or put it on the PATH")
    return found


def run(*arguments):
    """Runs `lvd` with these arguments; what it prints. A failure raises CalledProcessError."""
    command = [program(), *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def parts(folder):
    """The files of a table, in the order of their rows."""
    found = sorted(Path(folder).glob("part-*.parquet"))
    if not found:
        raise FileNotFoundError(f"{folder}: no part-*.parquet; `lvd status FILE` says which steps are whole")
    return found


def table(folder, columns=None):
    """A table of a step, `work/STEP` or `work/STEP/TABLE`, as a pyarrow.Table."""
    return pa.concat_tables(pq.read_table(part, columns=columns) for part in parts(folder))


def vectors(folder, dtype=np.float32):
    """The vectors of an embedder, `work/STEP/EMBEDDER`: ids (n) and an array (n x d)."""
    ids, blocks = [], []
    for part in parts(folder):
        found = pq.read_table(part, columns=["id", "embedding"])
        field = found.schema.field("embedding")
        width = int(field.metadata[b"dimension"])
        raw = b"".join(chunk.buffers()[1][2 * width * chunk.offset :][: 2 * width * len(chunk)].to_pybytes()
                       for chunk in found["embedding"].chunks)
        ids.append(found["id"].to_numpy())
        blocks.append(np.frombuffer(raw, np.float16).reshape(-1, width).astype(dtype))
    return np.concatenate(ids), np.concatenate(blocks)
