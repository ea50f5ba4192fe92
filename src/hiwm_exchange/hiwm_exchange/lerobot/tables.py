"""Parquet tables of LeRobot sets: features as columns, and the table of tasks."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Features = Mapping[str, Mapping[str, Any]]
# pandas names the column of an index without a name so, and finds it by the schema's metadata.
_INDEX = "__index_level_0__"
_TYPES = {"string": pa.string(), "bool": pa.bool_()}


def is_video(feature: Mapping[str, Any]) -> bool:
    """Return whether a feature is a video, whose frames are not in the table."""
    return bool(feature["dtype"] == "video")


def image_size(feature: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of a camera's feature: by its names, else by where the channels are.

    Sets have [height, width, channels] or [channels, height, width].
    """
    shape, names = list(feature["shape"]), list(feature.get("names") or ())
    if "height" in names and "width" in names:
        return shape[names.index("height")], shape[names.index("width")]
    height, width = shape[1:] if shape[0] in (1, 3) and shape[2] not in (1, 3) else shape[:2]
    return height, width


def entry_names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a feature's entries; empty if it has none.

    They are a list, or the only list of a mapping, such as `{motors: [waist, shoulder]}`.
    """
    names = feature.get("names")
    if isinstance(names, dict) and len(names) == 1:
        (names,) = names.values()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def schema_of(features: Features) -> Any:
    """Return the schema of a table with some features; videos have no column."""
    return pa.schema([
        pa.field(name, _column_type(feature)) for name, feature in features.items()
        if not is_video(feature)
    ])


def table_of(features: Features, rows: Mapping[str, NDArray[Any]]) -> Any:
    """Return a table of rows: of each feature [T] or [T, N]."""
    schema = schema_of(features)
    return pa.table([_column(rows[field.name], field.type) for field in schema], schema=schema)


def write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """Write the table of tasks as pandas does: the text is the index."""
    described = {
        "index_columns": [_INDEX], "column_indexes": [], "pandas_version": "2.2.0",
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "columns": [
            {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": numpy,
             "metadata": None}
            for name, field, kind, numpy in (
                ("task_index", "task_index", "int64", "int64"), (None, _INDEX, "unicode", "object")
            )
        ],
    }
    schema = pa.schema(
        [("task_index", pa.int64()), (_INDEX, pa.string())],
        metadata={"pandas": json.dumps(described)},
    )
    columns = [pa.array(range(len(tasks)), pa.int64()), pa.array(list(tasks), pa.string())]
    pq.write_table(pa.table(columns, schema=schema), str(path))


def read_tasks(path: Path) -> list[str]:
    """Return the texts of a table of tasks, in the order of their indices."""
    table = pq.read_table(str(path))
    described = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
    names = [name for name in described.get("index_columns", []) if isinstance(name, str)]
    text = (names or [name for name in table.column_names if name != "task_index"])[0]
    pairs = zip(table["task_index"].to_pylist(), table[text].to_pylist(), strict=True)
    return [str(task) for _, task in sorted(pairs)]


def column_array(column: Any) -> NDArray[Any]:
    """Return a column of a table as an array: [T], [T, N], or objects for texts and images."""
    kind, whole = column.type, column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # of no rows
        return np.array(column.to_pylist())
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        if pa.types.is_nested(kind.value_type):
            return np.array(whole.to_pylist())
        return np.asarray(whole.flatten()).reshape(len(whole), -1)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_struct(kind):
        values = np.empty(len(whole), object)
        values[:] = whole.to_pylist()
        return values
    return np.asarray(whole)


def _column_type(feature: Mapping[str, Any]) -> Any:
    dtype, shape = str(feature["dtype"]), list(feature["shape"])
    kind = _TYPES.get(dtype) or pa.from_numpy_dtype(np.dtype(dtype))
    return kind if shape == [1] else pa.list_(kind, int(np.prod(shape)))


def _column(values: NDArray[Any], kind: Any) -> Any:
    if pa.types.is_fixed_size_list(kind):
        flat = np.ascontiguousarray(values).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat, kind.value_type), kind.list_size)
    if pa.types.is_string(kind):
        return pa.array(values.tolist(), kind)
    return pa.array(np.ascontiguousarray(values.reshape(-1)), kind)
