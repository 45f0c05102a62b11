"""What all tests share: an environment that reaches nothing outside, and the one slow start, Prefect's test server."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

# Before any library reads it: settings of the person who runs the tests would send runs and data to their servers.
for _name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_", "STREETVISION_", "FIFTYONE_"))]:
    # where vLLM and llm-compressor are, for the tests that need them, is no setting of a person's own service
    if _name not in ("STREETVISION_VLLM", "STREETVISION_LLMCOMPRESSOR"):
        del os.environ[_name]
os.environ.update(
    DO_NOT_TRACK="true",
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    MLFLOW_DISABLE_TELEMETRY="true",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    FIFTYONE_DO_NOT_TRACK="true",
    YOLO_OFFLINE="true",
    PREFECT_HOME=tempfile.mkdtemp(prefix="prefect-"),
    OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "2"),
    # threads that wait for work by spinning take the processor from the other file under test
    OMP_WAIT_POLICY="PASSIVE",
)

import pytest  # noqa: E402
from _pytest.logging import LogCaptureHandler  # noqa: E402
from hypothesis import settings  # noqa: E402

# the first example imports libraries; on a busy machine that takes seconds
settings.register_profile("streetvision", deadline=None)
settings.load_profile("streetvision")


def pytest_unconfigure() -> None:
    """Remove Prefect's home of this session."""
    shutil.rmtree(os.environ["PREFECT_HOME"], ignore_errors=True)


# whose tests share Prefect's server
FLOWS = "tests/integration/flows/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what takes longest: a long file that is begun last keeps one process waiting for the other."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.nodeid.startswith(FLOWS):
        return 0
    return 1 if item.get_closest_marker("integration") or item.get_closest_marker("e2e") else 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a file in one process, as module fixtures are, and all flows: each process would start Prefect's server."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return FLOWS if nodeid.startswith(FLOWS) else nodeid.split("::", 1)[0]

    return Scheduler(config, log)


@pytest.fixture(autouse=True)
def loggers_on() -> None:
    """Put our loggers back as they were.

    MLflow's migrations (alembic's fileConfig) switch off every logger that exists, and Prefect's `setup_logging` keeps
    from the root logger what the loggers of `PREFECT_LOGGING_EXTRA_LOGGERS` say. torch's ONNX exporter leaves the root
    logger's handlers at ERROR, and those that pytest captures with are the same objects in all tests.
    """
    for handler in logging.root.handlers:
        if isinstance(handler, LogCaptureHandler):
            handler.setLevel(logging.NOTSET)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.split(".")[0] in ("cascade", "tasks", "flows", "streetvision") and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """Prefect's test server, once a session: it takes about 20 s to start."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with MLflow's tables, to copy: making the tables takes seconds."""
    from tasks.config import load_params
    from tasks.release.tracking import connect

    folder = tmp_path_factory.mktemp("mlflow")
    connect(load_params(ROOT / "params.yaml"), folder).search_experiments()
    return folder / "var" / "mlflow.db"


@pytest.fixture
def dvc_repository(tmp_path: Path) -> Callable[[str], Path]:
    """Make a DVC repository without git from the text of a dvc.yaml, and give its folder."""

    def make(document: str) -> Path:
        folder = tmp_path / "repository"
        folder.mkdir()
        command = [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8")
        (folder / "dvc.yaml").write_text(document, encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def fiftyone_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for `tasks.mining.database.connect`: a process has one database, and FiftyOne takes long to load."""
    return tmp_path_factory.mktemp("fiftyone")
