"""Small local files in the real format of the sets that the full scale takes from the Hugging Face hub."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

#: The columns of images and labels as the hub's own pages name them.
COLUMNS = {"cifar10": ("img", "label"), "cifar100": ("img", "fine_label"), "mnist": ("image", "label")}


def hub_folder(
    folder: Path, name: str, shape: tuple[int, ...], n_train: int = 6, n_test: int = 3, classes: int = 10
) -> tuple[Path, dict[str, Any]]:
    """Parquet files of PNG images as the hub has them for ``name``; the folder, and the pixels and labels in it."""
    import datasets as hub
    import pyarrow
    from PIL import Image
    from pyarrow import parquet

    image_column, label_column = COLUMNS[name]
    rng = np.random.default_rng(0)
    folder.mkdir()
    content = {}
    for split, n in (("train", n_train), ("test", n_test)):
        images, labels = rng.integers(0, 256, (n, *shape), dtype=np.uint8), rng.integers(0, classes, n)
        content[split] = images, labels
        encoded = []
        for image in images:
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            encoded.append({"bytes": file.getvalue(), "path": None})
        features = hub.Features({image_column: hub.Image(), label_column: hub.ClassLabel(num_classes=classes)})
        table = pyarrow.table({image_column: encoded, label_column: labels}).cast(features.arrow_schema)
        parquet.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    return folder, content
