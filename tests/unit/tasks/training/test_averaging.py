"""Averaged weights: the formulas, on numbers worked out by hand."""

from __future__ import annotations

import pytest


def test_the_moving_average_follows_faster_at_first() -> None:
    import torch
    from torch import nn

    from tasks.training.averaging import moving_average

    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average, expected = moving_average(model, decay=0.6, warm_up=10), 0.0
    # decays 2/11, 3/12, ... until 0.6 is less
    for update in range(1, 30):
        model.weight.data.fill_(float(update))
        keep = min(0.6, (1 + update) / (10 + update))
        expected = keep * expected + (1 - keep) * update
        average.update_parameters(model)
        assert float(average.module.weight.detach()) == pytest.approx(expected, rel=1e-5)
    assert torch.equal(model.weight, torch.tensor([[29.0]]))


def test_statistics_are_averaged_and_counts_are_copied() -> None:
    import torch
    from torch import nn

    from tasks.training.averaging import moving_average

    model = nn.BatchNorm1d(2)
    average = moving_average(model, decay=0.5, warm_up=1)
    model.running_mean.fill_(4.0)
    model.num_batches_tracked.fill_(7)
    average.update_parameters(model)
    assert average.module.running_mean.tolist() == [2.0, 2.0]
    assert int(average.module.num_batches_tracked) == 7
    assert torch.equal(average.module.running_var, torch.ones(2))


@pytest.mark.parametrize("values", [[3.0], [3.0, 5.0], [1.0, 2.0, 6.0]])
def test_the_mean_is_that_of_the_updates_alone(values: list[float]) -> None:
    from torch import nn

    from tasks.training.averaging import mean_of_updates

    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(100.0)
    average = mean_of_updates(model)
    for value in values:
        model.weight.data.fill_(value)
        average.update_parameters(model)
    assert float(average.module.weight.detach()) == pytest.approx(sum(values) / len(values))
