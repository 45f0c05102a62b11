"""`make demo`: the release of the shipped weights, built and asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.release.store import load_release
from tasks.config import load_params
from tasks.tools.demo import answer, build_demo
from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_the_shipped_weights_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    params, said = load_params(), list[str]()
    release = build_demo(params, tmp_path, say=said.append)
    assert load_release(release.folder).id == release.id
    assert [one.partition(":")[0] for one in said] == ["backbone", "export"]
    lines = answer(release, params)
    # the first pictures of the challenge split, which are easy ones
    assert [line.split()[0] for line in lines] == ["roadwork", "clear", "roadwork"]
    assert [float(line.split()[2]) > 0.5 for line in lines] == [True, False, True]
