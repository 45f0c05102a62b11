"""Type stubs of TensorRT, made from a bindings wheel on a machine that has neither TensorRT nor a GPU.

The bindings (`pip download tensorrt-cu13-bindings`) carry every name and signature but no .pyi, and load only beside
NVIDIA's libraries. Those are needed for ten C functions, none of which runs while the module is imported: empty
libraries of the same names are enough to import it and to ask it.

`python -m tests.support.tensorrt_stubs FOLDER_WITH_tensorrt_bindings OUTPUT.pyi`
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

# what the builder and the runtime touch, and what these return
CLASSES = (
    "Builder", "BuilderFlag", "DataType", "Dims", "EngineInspector", "IBuilderConfig", "ICudaEngine",
    "IExecutionContext", "IHostMemory", "ILogger", "INetworkDefinition", "IOptimizationProfile", "IProgressMonitor",
    "ITensor", "ITimingCache", "LayerInformationFormat", "Logger", "MemoryPoolType", "NetworkDefinitionCreationFlag",
    "OnnxParser", "ParserError", "ProfilingVerbosity", "Runtime", "TensorIOMode",
)  # fmt: skip
TUPLE = " | tuple[int, ...]"
PLAIN = {"int", "float", "str", "bool", "bytes", "None", "tuple", "list", "object"}
SPELLED = {"typing.SupportsInt": "int", "typing.SupportsFloat": "float", "typing_extensions.Buffer": "Buffer",
           "buffer": "Buffer", "capsule": "object", "nvonnxparser::IParserError": "ParserError"}  # fmt: skip
SIGNATURE = re.compile(r"^(?:\d+\. )?(?P<name>\w+)?\((?P<arguments>.*)\) -> (?P<answer>.+)$")
# of an enumeration, of a shape, and of memory that `bytes` and `open(...).write` take
SPECIAL = {
    "__int__": "def __int__(self) -> int: ...",
    "__len__": "def __len__(self) -> int: ...",
    # `iter` falls back on it, which mypy does not know
    "__getitem__": "def __getitem__(self, index: int) -> int: ...\n    def __iter__(self) -> Iterator[int]: ...",
}
LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")


def stub_of(bindings: Path, work: Path) -> str:
    """Give the text of the stub of the bindings in a folder.

    Raises:
        RuntimeError: no compiler, or the bindings do not load.
    """
    if shutil.which("cc") is None:
        raise RuntimeError("no C compiler: the bindings load only beside libraries of NVIDIA's names")
    library = (bindings / "tensorrt_bindings" / "tensorrt.so").read_bytes()
    _write_libraries(library, work)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(work), "PYTHONPATH": f"{bindings}:{Path(__file__).parents[2]}"}
    command = [sys.executable, "-m", "tests.support.tensorrt_stubs"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{bindings}: the bindings do not load: {done.stderr[-500:]}")
    return done.stdout


def _write_libraries(bindings: bytes, work: Path) -> None:
    """Compile empty libraries under the names and with the functions that the bindings ask for."""
    functions = sorted(
        set(re.findall(rb"\0((?:create|get|init)\w+(?:_INTERNAL|Registry|Version|Plugins))(?=\0)", bindings))
    )
    work.mkdir(parents=True, exist_ok=True)
    source = work / "empty.c"
    source.write_text("".join(f"void *{name.decode()}(void) {{ return 0; }}\n" for name in functions))
    for name in LIBRARIES:
        found = re.search(rb"\0(" + name.encode() + rb"\.so\.\d+)\0", bindings)
        if found is None:
            raise RuntimeError(f"the bindings do not ask for {name}")
        target = found.group(1).decode()
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-o", str(work / target), str(source), f"-Wl,-soname,{target}"], check=True
        )


def _module_text(module: Any) -> str:
    head = [f'"""TensorRT {module.__version__}, the part that is used; made by tests/support/tensorrt_stubs.py."""', ""]
    head += ["from collections.abc import Iterator", "from typing import Any, overload", ""]
    head += ["from typing_extensions import Buffer", "", "__version__: str", ""]
    return "\n".join([*head, *(_class_text(getattr(module, name)) for name in CLASSES)])


def _class_text(cls: Any, depth: int = 0) -> str:
    pad = "    " * depth
    bases = [base.__name__ for base in cls.__bases__ if base.__name__ in CLASSES]
    lines = [f"{pad}class {cls.__name__}{'(' + bases[0] + ')' if bases else ''}:"]
    for name, member in sorted(vars(cls).items()):
        lines += [f"{pad}    {line}" for line in _member(cls, name, member)]
    if cls.__name__ == "IHostMemory":
        lines.append(f"{pad}    def __buffer__(self, flags: int, /) -> memoryview: ...")
    if len(lines) == 1:
        lines.append(f"{pad}    ...")
    return "\n".join([*lines, ""])


def _member(cls: Any, name: str, member: Any) -> list[str]:
    if name == "__init__":
        return _methods(name, member.__doc__ or "")
    if name in SPECIAL:
        return [SPECIAL[name]]
    if name in getattr(cls, "__members__", {}):
        return [f"{name}: {cls.__qualname__}"]
    if name == "__members__" or name.startswith(("_", "add_") if cls.__name__ == "INetworkDefinition" else "_"):
        return []
    if isinstance(member, property):
        return _property(name, member)
    if inspect.isclass(member):
        return _class_text(member).splitlines()
    if not callable(member):
        return [f"{name}: Any"]
    return _methods(name, member.__doc__ or "")


def _property(name: str, member: property) -> list[str]:
    found = re.search(r"-> (.+)", (member.fget and member.fget.__doc__) or "")
    kind = _type(found.group(1)).removesuffix(TUPLE) if found else "Any"
    lines = ["@property", f"def {name}(self) -> {kind}: ..."]
    if member.fset:
        lines += [f"@{name}.setter", f"def {name}(self, value: {kind}) -> None: ..."]
    return lines


def _methods(name: str, text: str) -> list[str]:
    found = [match for line in text.splitlines() if (match := SIGNATURE.match(line.strip()))]
    if not found:
        return [f"def {name}(self, *args: Any, **kwargs: Any) -> Any: ..."]
    lines = []
    for match in found:
        if len(found) > 1:
            lines.append("@overload")
        answer = _type(match["answer"]).removesuffix(TUPLE)
        lines.append(f"def {name}({_arguments(match['arguments'])}) -> {answer}: ...")
    return lines


def _arguments(text: str) -> str:
    """Argument list of pybind11's docstring in Python's own spelling; the first is self."""
    parts = re.split(r", (?=\w+: )", re.sub(r"<[^<>]*>", "...", text))
    written = ["self"]
    for part in parts[1:]:
        name, _, rest = part.partition(": ")
        kind, _, default = rest.partition(" = ")
        optional = f" | None = {default}" if default == "None" else " = ..." if default else ""
        written.append(f"{name}: {_type(kind)}{optional}")
    return ", ".join(written)


def _type(text: str) -> str:
    text = text.strip().removeprefix("tensorrt_bindings.tensorrt.")
    text = SPELLED.get(text, text)
    if text == "tuple":
        return "tuple[Any, ...]"
    if text == "Dims":
        # pybind11 turns sequences of numbers into it
        return "Dims" + TUPLE
    outer = text.split(".")[0]
    return text if text in PLAIN or text == "Buffer" or outer in CLASSES else "Any"


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(_module_text(importlib.import_module("tensorrt_bindings")))
    else:
        Path(sys.argv[2]).write_text(stub_of(Path(sys.argv[1]).resolve(), Path("var/tensorrt_stubs")), encoding="utf-8")
