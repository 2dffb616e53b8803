"""Vectors as files: .npy and .safetensors hold the matrix and have a second file of its rows; Parquet, JSON Lines."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from xmodctl.core.errors import UserError
from xmodctl.evaluation.output_tables import arrow_errors, arrow_table, json_lines

MATRICES = (".npy", ".safetensors")
SUFFIXES = (*MATRICES, ".parquet", ".jsonl")
TENSOR = "embeddings"
"""The name of the matrix in a .safetensors file."""


@dataclass(frozen=True)
class VectorPart:
    """A part of the input with its vectors."""

    rows: tuple[dict[str, Any], ...]  # ids, and columns of the input
    vectors: NDArray[np.float32]  # (rows, dimensions)
    truncated: int  # texts that were cut


def check_vector_suffix(path: Path) -> None:
    """Refuse a file whose extension names no format of vectors.

    Raises:
        UserError: It does not.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {path}: vectors are written as {', '.join(SUFFIXES)}; choose one of these extensions")


def companion(path: Path) -> Path | None:
    """Return the file of the rows of a matrix, or None where the vectors' own file has them."""
    return path.with_name(f"{path.name}.rows.jsonl") if path.suffix.lower() in MATRICES else None


def json_rows(part: VectorPart) -> Iterator[dict[str, Any]]:
    """Yield each row with its vector, in as few digits as give the same float32."""
    for row, vector in zip(part.rows, part.vectors, strict=True):
        yield {**row, "embedding": [float(str(number)) for number in vector]}


def write_vectors(
    part: Path,
    rows_part: Path | None,
    extension: str,
    parts: Iterable[VectorPart],
    dimensions: int,
    settings: Mapping[str, str],
) -> None:
    """Write vectors part by part; what precedes a failure is in the files.

    Args:
        part: The file.
        rows_part: The file of the rows of a matrix.
        extension: The format.
        parts: The vectors.
        dimensions: Of each vector.
        settings: What decides the vectors, for formats that have room for it.
    """
    if rows_part is not None:
        with rows_part.open("w", encoding="utf-8") as rows:
            blocks = _logging_rows(parts, rows)
            if extension == ".npy":
                _write_npy(part, blocks, dimensions)
            else:
                _write_safetensors(part, blocks, dimensions, settings)
    elif extension == ".parquet":
        _write_parquet(part, parts, dimensions, settings)
    else:
        with part.open("w", encoding="utf-8") as file:
            for each in parts:
                file.write(json_lines(json_rows(each)))
                file.flush()


def _logging_rows(parts: Iterable[VectorPart], file: Any) -> Iterator[NDArray[np.float32]]:
    for part in parts:
        file.write(json_lines(part.rows))
        file.flush()
        yield part.vectors


def _write_blocks(file: IO[bytes], blocks: Iterable[NDArray[np.float32]]) -> None:
    for block in blocks:
        file.write(np.ascontiguousarray(block, dtype="<f4").tobytes())


def _rows_in(file: IO[bytes], dimensions: int, *, after: int = 0) -> int:
    """Return how many vectors a file holds after its first bytes."""
    return (file.seek(0, os.SEEK_END) - after) // (4 * dimensions)


def _write_npy(part: Path, blocks: Iterable[NDArray[np.float32]], dimensions: int) -> None:
    """Write the matrix; NumPy's header has room for the number of rows, which is known at the end."""
    with part.open("wb") as file:
        file.write(header := _npy_header(0, dimensions))
        try:
            _write_blocks(file, blocks)
        finally:
            final = _npy_header(_rows_in(file, dimensions, after=len(header)), dimensions)
            assert len(final) == len(header)
            file.seek(0)
            file.write(final)


def _npy_header(count: int, dimensions: int) -> bytes:
    header = BytesIO()
    shape = (count, dimensions)
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _write_safetensors(
    part: Path, blocks: Iterable[NDArray[np.float32]], dimensions: int, settings: Mapping[str, str]
) -> None:
    """Write the matrix, whose size stands before it in the file, by way of a temporary file."""
    import torch

    from xmodctl.core.safetensors_io import entry_of, write_stream

    with tempfile.TemporaryFile(dir=part.parent) as file:
        raw: Any = file
        try:
            _write_blocks(raw, blocks)
        finally:
            raw.flush()
            shape = (_rows_in(raw, dimensions), dimensions)
            matrix = np.memmap(raw, dtype="<f4", mode="r+", shape=shape) if shape[0] else np.zeros(shape, "<f4")
            tensor = torch.from_numpy(matrix)
            write_stream(part, {TENSOR: entry_of(tensor)}, [tensor], settings)


def _write_parquet(part: Path, parts: Iterable[VectorPart], dimensions: int, settings: Mapping[str, str]) -> None:
    """Write a table part by part, with the columns of the first part; the columns' metadata has the settings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    try:
        for each in parts:
            table = arrow_table(each.rows)
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(each.vectors.reshape(-1)), dimensions)
            table = table.append_column("embedding", vectors)
            if writer is None:
                fields = [item.with_type(pa.string()) if pa.types.is_null(item.type) else item for item in table.schema]
                schema = pa.schema(fields, metadata={f"xmodctl.{key}": value for key, value in settings.items()})
                writer = pq.ParquetWriter(part, schema)
            with arrow_errors():
                if table.column_names != writer.schema.names:
                    raise pa.ArrowInvalid("later rows have other columns")
                writer.write_table(table.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()
        else:
            pq.write_table(pa.table({}), part)
