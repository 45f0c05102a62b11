"""What of the user's own environment reaches a run."""

from __future__ import annotations

import pytest

from tasks.common.environment import BY_WORKER, FOREIGN, LOOPBACK, SERVER, SERVER_KEY, prepare

HERE = ",".join(LOOPBACK)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # nothing set
        ({}, {}),
        # a stale address, a key, a profile, and MLflow's
        (dict.fromkeys(FOREIGN, "https://elsewhere"), {}),
        # ours ask for a server
        ({SERVER: "http://a", SERVER_KEY: "k"}, {"PREFECT_API_URL": "http://a", "PREFECT_API_KEY": "k"}),
        # ours win over the user's
        ({SERVER: "http://a", "PREFECT_API_URL": "http://b"}, {"PREFECT_API_URL": "http://a"}),
        # an empty variable asks for nothing
        ({SERVER: "", "PREFECT_API_URL": "http://b"}, {}),
        # a run that a worker has started belongs to the worker's server
        ({BY_WORKER: "1", "PREFECT_API_URL": "http://w"}, {"PREFECT_API_URL": "http://w"}),
    ],
)
def test_foreign_settings(given: dict[str, str], expected: dict[str, str]) -> None:
    environ = {**given, "PREFECT_LOGGING_LEVEL": "DEBUG"}
    prepare(environ)
    assert {name: environ[name] for name in FOREIGN if name in environ} == expected
    # settings that send nothing anywhere stay
    assert environ["PREFECT_LOGGING_LEVEL"] == "DEBUG"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # none
        ({}, HERE),
        # what the user lists stays, in both spellings
        ({"no_proxy": "a.example"}, f"a.example,{HERE}"),
        ({"NO_PROXY": "a.example, b.example"}, f"a.example,b.example,{HERE}"),
        ({"no_proxy": "localhost"}, "localhost,127.0.0.1,::1"),
    ],
)
def test_loopback_is_never_proxied(given: dict[str, str], expected: str) -> None:
    environ = {**given, "http_proxy": "http://127.0.0.1:9"}
    prepare(environ)
    assert environ["no_proxy"] == environ["NO_PROXY"] == expected
    assert environ["http_proxy"] == "http://127.0.0.1:9"
