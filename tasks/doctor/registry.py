"""The checks: functions that a decorator names, in modules that are imported when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from tasks.config import Params
from tasks.doctor.finding import Finding

# in the order in which people read them
MODULES = (
    *("parameters", "versions", "programs", "machine", "clock", "gpu", "remotes", "schedules", "successes"),
    *("serving", "records", "secrets"),
)
MINER_MODULES = tuple(f"miner.{name}" for name in ("network", "registration", "latency", "engine", "model", "keys"))
GPU_MODULES = ("gpu", "gpu_fit")


@dataclass(frozen=True)
class MinerOptions:
    """What `--miner` knows of the chain and of the axon.

    Attributes:
        hotkey: ss58 address; None: that of section `submission`.
        metagraph: a JSON file; None: the chain by bittensor, where it is installed and `network` is set.
        network: of bittensor, such as finney, or an address; None: the chain is not asked.
        netuid: of the subnet.
        address: of this machine as others see it; None: its own interfaces are looked at.
        port: of the axon, where the metagraph does not say.
    """

    hotkey: str | None = None
    metagraph: Path | None = None
    network: str | None = None
    netuid: int = 72
    address: str | None = None
    port: int | None = None


@dataclass(frozen=True)
class Context:
    """What a check may need.

    Attributes:
        params: all of params.yaml; None where it cannot be read, which the check `params.yaml` says.
        deadline: of `time.monotonic`, after which nobody waits for an answer.
        miner: None without `--miner`.
    """

    params: Params | None
    deadline: float
    miner: MinerOptions | None = None
    root: Path = field(default_factory=Path)

    @property
    def needed(self) -> Params:
        """The parameters, for checks that are not run without them."""
        if self.params is None:
            raise RuntimeError("params.yaml cannot be read")
        return self.params


Run = Callable[[Context], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    """A check; `needs_params` leaves it out where params.yaml cannot be read."""

    name: str
    group: str
    run: Run
    needs_params: bool


_checks: dict[str, Check] = {}


def check(name: str, *, needs_params: bool = False) -> Callable[[Run], Run]:
    """Register a check under a name; its group is the module's."""

    def register(run: Run) -> Run:
        if name in _checks:
            raise ValueError(f"two checks are called {name}")
        _checks[name] = Check(name, run.__module__.removeprefix("tasks.doctor."), run, needs_params)
        return run

    return register


def checks(*, miner: bool = False, gpu: bool = False) -> list[Check]:
    """Give the checks of the project, or with `miner` those of the miner, or with `gpu` those of a card."""
    modules = MINER_MODULES if miner else GPU_MODULES if gpu else MODULES
    for name in modules:
        import_module(f"tasks.doctor.{name}")
    return sorted((one for one in _checks.values() if one.group in modules), key=lambda one: modules.index(one.group))
