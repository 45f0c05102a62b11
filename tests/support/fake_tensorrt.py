"""A double of TensorRT's Python API that knows exactly the names of the real one, and computes with ONNX Runtime.

Its names, methods and arguments come from the stubs in tests/stubs, made from NVIDIA's own bindings: touching a name
that is not there, or calling one with arguments that it does not take, fails. What it is told to build it keeps as
ONNX, so that parity, shapes, threads and the inspector's text are those of the graph.
"""

from __future__ import annotations

import ast
import ctypes
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pytest

STUBS = Path(__file__).parent / "stubs"
MAGIC = b"double of an engine\0"


class Table:
    """What the stub of one version says of each class: its members, and how they may be called."""

    def __init__(self, stub: str) -> None:
        tree = ast.parse((STUBS / f"{stub}.pyi").read_text())
        self.classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}

    def member(self, cls: str, name: str) -> list[ast.stmt]:
        """Definitions of a member, bases included; fails where there is none."""
        node = self.classes[cls]
        found = [item for item in node.body if getattr(item, "name", None) == name or _target(item) == name]
        for base in node.bases:
            if not found and isinstance(base, ast.Name):
                found = self.member(base.id, name)
        if not found:
            raise AttributeError(f"tensorrt.{cls} has no attribute {name!r} in this version")
        return found

    def check_call(self, cls: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Fail unless one of the overloads takes these arguments."""
        overloads = [item.args for item in self.member(cls, name) if isinstance(item, ast.FunctionDef)]
        if not any(_takes(arguments, len(args), set(kwargs)) for arguments in overloads):
            raise TypeError(f"tensorrt.{cls}.{name} takes no {len(args)} arguments and {sorted(kwargs)}")

    def names(self, cls: str) -> list[str]:
        """Members of an enumeration."""
        body = self.classes[cls].body
        return [name for item in body if (name := _target(item)) and ast.unparse(item.annotation).endswith(cls)]


def _target(item: ast.stmt) -> str | None:
    return item.target.id if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) else None


def _takes(arguments: ast.arguments, count: int, keywords: set[str]) -> bool:
    names = [item.arg for item in arguments.args[1:]]
    if arguments.vararg:
        return True
    needed = set(names[count : len(names) - len(arguments.defaults)])
    return count <= len(names) and keywords <= set(names[count:]) and needed <= keywords


class Member:
    """One value of an enumeration."""

    def __init__(self, name: str, value: int) -> None:
        self.name, self.value = name, value

    def __int__(self) -> int:
        return self.value


class Object:
    """An object of a class of the API: every access is checked against the table and written down."""

    def __init__(self, api: FakeTensorRT, cls: str, body: Any) -> None:
        object.__setattr__(self, "_parts", (api, cls, body))

    def __getattr__(self, name: str) -> Any:
        api, cls, body = object.__getattribute__(self, "_parts")
        definitions = api.table.member(cls, name)
        if any(_is_property(item) for item in definitions):
            return getattr(body, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            api.table.check_call(cls, name, args, kwargs)
            api.calls.append((f"{cls}.{name}", args))
            return getattr(body, name)(*args, **kwargs)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        api, cls, body = object.__getattribute__(self, "_parts")
        if not any("setter" in ast.unparse(item) for item in api.table.member(cls, name)):
            raise AttributeError(f"tensorrt.{cls}.{name} cannot be set")
        api.calls.append((f"{cls}.{name}=", (value,)))
        setattr(body, name, value)


def _is_property(item: ast.stmt) -> bool:
    return isinstance(item, ast.FunctionDef) and any(ast.unparse(mark) == "property" for mark in item.decorator_list)


def body(thing: Any) -> Any:
    """What an Object stands for."""
    return object.__getattribute__(thing, "_parts")[2]


class FakeTensorRT:
    """The module. Put it under `tensorrt` in `sys.modules`.

    Args:
        stub: which version's names, `tensorrt_10_12` or `tensorrt_11_4`.
        spoil: what the GPU does to every answer, to play a wrong kernel.
        full_precision: an engine in FP32 whatever the graph says.
        refuse: whether the builder gives up.
    """

    def __init__(
        self, stub: str = "tensorrt_11_4", *, spoil: Any = None, full_precision: bool = False, refuse: bool = False
    ) -> None:
        self.table = Table(stub)
        self.__version__ = {"tensorrt_11_4": "11.4.0.106", "tensorrt_10_12": "10.12.0.36"}[stub]
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.spoil, self.full_precision, self.refuse = spoil, full_precision, refuse
        # never bound on the real thing: 11 has no such flags, and `getattr` must fail as it does there
        self.ILogger, self.IProgressMonitor = self._base("ILogger"), self._base("IProgressMonitor")

    def __getattr__(self, name: str) -> Any:
        if name not in self.table.classes:
            raise AttributeError(f"module 'tensorrt' has no attribute {name!r} in this version")
        if members := self.table.names(name):
            return self._enumeration(name, members)
        return self._maker(name)

    def _enumeration(self, name: str, members: list[str]) -> Any:
        order = SEVERITIES if name == "Severity" else sorted(members)
        return type(name, (), {item: Member(item, order.index(item)) for item in members})

    def _maker(self, name: str) -> Any:
        if name == "Logger":
            return type("Logger", (), {"WARNING": Member("WARNING", 2), "__init__": lambda self, severity: None})

        def make(*args: Any) -> Object:
            self.table.check_call(name, "__init__", args, {})
            return self.wrap(name, BODIES[name](self, *args))

        return make

    def wrap(self, name: str, inner: Any) -> Object:
        """Give a checked object of a class."""
        return Object(self, name, inner)

    def _base(self, name: str) -> type:
        """Give a class to derive from: what a subclass overrides must exist, with as many arguments."""
        table, api = self.table, self

        def check(cls: type, **_: Any) -> None:
            for method, function in vars(cls).items():
                if not method.startswith("_"):
                    table.check_call(name, method, (None,) * (function.__code__.co_argcount - 1), {})

        members = {"__init_subclass__": classmethod(check), "__init__": lambda self: None}
        if name == "ILogger":
            members["Severity"] = api._enumeration("Severity", list(SEVERITIES))
        return type(name, (), members)

    def named(self, call: str) -> list[tuple[Any, ...]]:
        """Arguments of every call of a method."""
        return [args for name, args in self.calls if name == call]


SEVERITIES = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")


class Plain:
    """A body that holds what is set on it."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Memory(bytes):
    """IHostMemory: bytes of the library."""


class BuilderBody:
    def __init__(self, api: FakeTensorRT, logger: Any) -> None:
        self.api, self.logger = api, logger

    def create_network(self, flags: int = 0) -> Object:
        return self.api.wrap("INetworkDefinition", NetworkBody(self.api))

    def create_builder_config(self) -> Object:
        return self.api.wrap("IBuilderConfig", ConfigBody(self.api))

    def create_optimization_profile(self) -> Object:
        shapes: dict[str, Any] = {}
        return self.api.wrap(
            "IOptimizationProfile",
            Plain(shapes=shapes, set_shape=lambda name, least, best, most: shapes.update({name: (least, best, most)})),
        )

    def build_serialized_network(self, network: Object, config: Object) -> Memory | None:
        monitor = body(config).progress_monitor
        monitor.phase_start("Building", None, 1)
        assert monitor.step_complete("Building", 0)
        monitor.phase_finish("Building")
        self.logger.log(Member("WARNING", 2), "a warning")
        if self.api.refuse:
            self.logger.log(Member("ERROR", 1), "no kernel for Foo_3")
            return None
        head = json.dumps({"version": self.api.__version__, "profile": body(config).profile}).encode()
        return Memory(MAGIC + head + b"\0" + body(network).model.SerializeToString())


class NetworkBody:
    def __init__(self, api: FakeTensorRT) -> None:
        self.api = api
        self.model: Any = None

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    def get_input(self, index: int) -> Object:
        value = self.model.graph.input[index]
        return self.api.wrap("ITensor", Plain(name=value.name, shape=_shape(value)))


class ConfigBody(Plain):
    def __init__(self, api: FakeTensorRT) -> None:
        super().__init__(api=api, profile=None, progress_monitor=None, cache=None)

    def set_memory_pool_limit(self, pool: Member, size: int) -> None:
        assert size > 0

    def clear_flag(self, flag: Member) -> None: ...

    def create_timing_cache(self, data: bytes) -> Object:
        return self.api.wrap("ITimingCache", Plain(data=data, serialize=lambda: Memory(b"timings")))

    def set_timing_cache(self, cache: Object, mismatch: bool) -> bool:
        self.cache = cache
        return body(cache).data in (b"", b"timings")

    def get_timing_cache(self) -> Object:
        return self.cache

    def add_optimization_profile(self, profile: Object) -> int:
        self.profile = body(profile).shapes
        return 0


class ParserBody:
    """Refuses what the real parser refuses: operators of other domains, and bytes anywhere but in a cast."""

    def __init__(self, api: FakeTensorRT, network: Object, logger: Any) -> None:
        self.api, self.network, self.errors = api, network, []

    def parse_from_file(self, path: str) -> bool:
        import onnx

        model = onnx.load(path)
        pixels = {item.name for item in model.graph.input if item.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
        for node in model.graph.node:
            if node.domain not in ("", "ai.onnx"):
                self.errors.append((node, f"no importer for {node.op_type}"))
            elif pixels & set(node.input) and node.op_type != "Cast":
                self.errors.append((node, "UINT8 is only supported as a network input"))
        body(self.network).model = model
        return not self.errors

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def get_error(self, index: int) -> Object:
        node, words = self.errors[index]
        parts = Plain(node_name=lambda: node.name, node_operator=lambda: node.op_type, desc=lambda: words)
        return self.api.wrap("ParserError", parts)


class RuntimeBody:
    def __init__(self, api: FakeTensorRT, logger: Any) -> None:
        self.api = api

    def deserialize_cuda_engine(self, data: bytes) -> Object | None:
        if not data.startswith(MAGIC):
            return None
        head, _, model = data.removeprefix(MAGIC).partition(b"\0")
        about = json.loads(head)
        if about["version"] != self.api.__version__:
            return None
        return self.api.wrap("ICudaEngine", EngineBody(self.api, model, about["profile"]))


class EngineBody:
    def __init__(self, api: FakeTensorRT, data: bytes, profile: dict[str, Any]) -> None:
        import onnx

        from tasks.optimize.fp16_graph import rounded
        from tasks.optimize.onnx_run import open_graph

        self.api, self.profile = api, profile
        self.model = onnx.ModelProto.FromString(data)
        self.answer = open_graph(rounded(self.model))
        self.tensors = {
            **{item.name: ("INPUT", item) for item in self.model.graph.input},
            **{item.name: ("OUTPUT", item) for item in self.model.graph.output},
        }

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Member:
        return Member(self.tensors[name][0], 0)

    def get_tensor_dtype(self, name: str) -> Member:
        kinds = {1: "FLOAT", 2: "UINT8", 10: "HALF"}
        return Member(kinds[self.tensors[name][1].type.tensor_type.elem_type], 0)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return _shape(self.tensors[name][1])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        return [tuple(shape) for shape in self.profile[name]]

    def create_execution_context(self) -> Object:
        return self.api.wrap("IExecutionContext", ContextBody(self))

    def create_engine_inspector(self) -> Object:
        return self.api.wrap("EngineInspector", InspectorBody(self))


class ContextBody:
    """Reads and writes the addresses it was given, as a GPU would."""

    def __init__(self, engine: EngineBody) -> None:
        self.engine, self.shape, self.addresses = engine, None, {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.profile[name]
        self.shape = shape
        return all(low <= side <= high for low, side, high in zip(least, shape, most, strict=True))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return address > 0

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.engine.answer(np.zeros(self.shape, dtype=np.uint8))[name].shape

    def execute_async_v3(self, stream: int) -> bool:
        name = next(item for item, (mode, _) in self.engine.tensors.items() if mode == "INPUT")
        pixels = np.zeros(self.shape, dtype=np.uint8)
        ctypes.memmove(pixels.ctypes.data, self.addresses[name], pixels.nbytes)
        for output, values in self.engine.answer(pixels).items():
            spoilt = np.ascontiguousarray(self.engine.api.spoil(values) if self.engine.api.spoil else values)
            ctypes.memmove(self.addresses[output], spoilt.ctypes.data, spoilt.nbytes)
        return True


class InspectorBody(Plain):
    def __init__(self, engine: EngineBody) -> None:
        super().__init__(engine=engine, execution_context=None)

    def get_engine_information(self, form: Member) -> str:
        from tasks.optimize.fp16_graph import types_of

        kinds = types_of(self.engine.model)
        layers = []
        for node in self.engine.model.graph.node:
            kind = {1: "Float", 10: "Float" if self.engine.api.full_precision else "Half"}.get(kinds[node.output[0]])
            words = kind or "Int64"
            if self.execution_context is None:
                words = "N/A due to dynamic shapes"
            shown = {"Name": node.output[0], "Location": "Device", "Format/Datatype": words}
            layers.append({"Name": node.name, "LayerType": node.op_type, "Inputs": [], "Outputs": [shown]})
        names = list(self.engine.tensors)
        if self.engine.api.__version__.startswith("10"):
            return json.dumps({"Layers": layers, "Bindings": names})
        return json.dumps({"Layers": layers, "I/O Tensors": [{"Name": name, "DataType": "Float"} for name in names]})


BODIES = {"Builder": BuilderBody, "OnnxParser": ParserBody, "Runtime": RuntimeBody}


def _shape(value: Any) -> tuple[int, ...]:
    """Shape of a graph's input or output; the batch is -1."""
    return tuple(side.dim_value if side.HasField("dim_value") else -1 for side in value.type.tensor_type.shape.dim)


def run_on_a_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the steps build, and the runtime load, engines of the double, on the processor of one made-up machine."""
    import cascade.engines.tensorrt as runtime
    from cascade.engines.key import Machine
    from tasks.optimize import tensorrt_engines, verify

    here = Machine(gpu="Double 4090", compute="8.9", driver="580.65.06", tensorrt="11.4.0.106")
    session = partial(runtime.TensorRTSession, machine=here, device="cpu")
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRT())
    on_it = partial(verify.export_engine, machine=here, device="cpu")
    for module in (tensorrt_engines, verify):
        monkeypatch.setattr(module, "export_engine", on_it)
    monkeypatch.setattr(runtime, "TensorRTSession", lambda path, *_: session(path))
