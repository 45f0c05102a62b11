"""The GGUF reader: damaged files first, then weights by hand; the real file is read in the integration tests."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.llava.gguf import ALIGNMENT, GGUF, GGUFError

F32, Q4_1, Q8_0 = 0, 3, 8


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(
    tensors: list[tuple[str, tuple[int, ...], int, bytes]], metadata: bytes = b"", pairs: int = 0, version: int = 3
) -> bytes:
    """A file with these tensors, their shape as GGUF counts it: the fastest dimension first."""
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), pairs) + metadata
    data = b""
    for name, shape, kind, content in tensors:
        header += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape) + struct.pack("<IQ", kind, len(data))
        data += content + b"\0" * (-len(content) % ALIGNMENT)
    return header + b"\0" * (-len(header) % ALIGNMENT) + data


def pair(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


PLAIN = gguf([("x", (2, 3), F32, np.arange(6, dtype="<f4").tobytes())])


def write(folder: Path, content: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # nothing, another format, an unknown version
        (b"", "not a sound GGUF"),
        (b"PK\3\4" + b"\0" * 60, "not a GGUF"),
        (gguf([], version=9), "version 9"),
        # cut off in the header and in a name
        (PLAIN[:10], "not a sound GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1 << 60), "cut off"),
        # counts that would fill the memory
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "claims"),
        (gguf([], pair("a", 9, struct.pack("<IQ", 4, 1 << 50)), 1), "claims"),
        # an unknown value type, a tensor of many dimensions
        (gguf([], pair("a", 99, b""), 1), "unknown type 99"),
        (gguf([("x", (1,) * 9, F32, b"")]), "9 dimensions"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(GGUFError, match=message):
        GGUF(write(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        # not there, of a kind that is not read, cut off
        (PLAIN, "y", "has no tensor 'y'"),
        (gguf([("x", (256,), 14, b"")]), "x", "of kind 14"),
        (PLAIN[:-16], "x", "cut off"),
    ],
)
def test_tensors_that_cannot_be_had(tmp_path: Path, content: bytes, name: str, message: str) -> None:
    with pytest.raises(GGUFError, match=message):
        GGUF(write(tmp_path, content)).tensor(name)


def test_shape_and_values(tmp_path: Path) -> None:
    file = GGUF(write(tmp_path, PLAIN))
    assert list(file.names()) == ["x"]
    np.testing.assert_array_equal(file.tensor("x"), [[0, 1], [2, 3], [4, 5]])


def test_metadata(tmp_path: Path) -> None:
    values = pair("name", 8, text("smöl")) + pair("layers", 4, struct.pack("<I", 30)) + pair("on", 7, b"\1")
    values += pair("words", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b"))
    file = GGUF(write(tmp_path, gguf([], values, 4)))
    assert file.metadata == {"name": "smöl", "layers": 30, "on": True, "words": ["a", "b"]}


def test_q4_1_and_q8_0_by_hand(tmp_path: Path) -> None:
    quarter = struct.pack("<ee", 0.5, -1.0) + bytes(low | (15 - low) << 4 for low in range(16))
    signed = np.arange(-16, 16, dtype=np.int8).tobytes()
    content = gguf([("a", (32,), Q4_1, quarter), ("b", (32,), Q8_0, struct.pack("<e", 0.25) + signed)])
    file = GGUF(write(tmp_path, content))
    steps = np.arange(16)
    np.testing.assert_allclose(file.tensor("a"), np.concatenate([steps, 15 - steps]) * 0.5 - 1)
    np.testing.assert_allclose(file.tensor("b"), np.arange(-16, 16) * 0.25)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused_with_one_error(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = write(tmp_path_factory.mktemp("noise"), PLAIN[:20] + noise)
    try:
        file = GGUF(path)
        for name in file.names():
            file.tensor(name)
    except GGUFError:
        pass
