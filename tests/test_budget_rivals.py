"""What is trained within fixed times: ours, the rivals in torch, and a tiny run of everything."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"


@pytest.fixture
def clock(bench_module):
    return bench_module("budget_clock")


@pytest.fixture
def settings(bench_module):
    return bench_module("budget_settings")


@pytest.fixture
def rivals(bench_module, torch):
    pytest.importorskip("sklearn")
    return bench_module("budget_rivals")


@pytest.fixture
def data(bench_module):
    """Return two classes that anything can tell apart."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    X = (rng.normal(size=(200, 4)) + 4.0 * y[:, None]).astype(np.float32)
    return bench_module("budget_sets").BudgetSet(
        "blobs", (6, 5), X[:150], y[:150], X[150:], y[150:]
    )


def test_ours_is_trained_for_the_planned_epochs(bench_module, clock, settings, data):
    ours = bench_module("budget_ours")
    for setting in ({}, *settings.draw(settings.OURS, 3)):
        setting = {k: v for k, v in setting.items() if k != "batch_size"}
        found = ours.train(data, setting, 0, 1, 7)
        assert found.units == 7
        assert found.accuracy > 0.9
        assert 0.0 < found.loss < 0.7
    watch = clock.Stopwatch(0.0, 1, 1)
    assert ours.train(data, {}, 0, 1, None, watch).units == 2 == len(watch.marks)


RIVALS = ("AdamW", "Muon", "SOAP", "schedule-free AdamW")


@pytest.mark.parametrize("method", RIVALS)
def test_rivals_are_trained_for_the_planned_steps(rivals, clock, settings, data, method):
    needs = {"SOAP": "pytorch_optimizer", "schedule-free AdamW": "schedulefree"}
    with warnings.catch_warnings():  # what a package of others warns of at import is not ours
        warnings.simplefilter("ignore")
        pytest.importorskip(needs.get(method, "torch"))
    for setting in settings.draw(method, 4):
        found = rivals.train(method, data, {**setting, "rate": 0.01}, 0, 1, 60)
        assert found.units == 60
        assert found.accuracy > 0.9
        again = rivals.train(method, data, {**setting, "rate": 0.01}, 0, 1, 60)
        assert (found.accuracy, found.loss) == (again.accuracy, again.loss)
    watch = clock.Stopwatch(0.0, 10, 20)
    assert rivals.train(method, data, setting, 0, 1, None, watch).units == 30


def test_muon_brings_singular_values_together(rivals, torch):
    torch.manual_seed(0)
    for shape in ((8, 30), (30, 8), (12, 12)):
        G = torch.randn(shape)
        U, s, V = torch.linalg.svd(G, full_matrices=False)
        values = torch.diagonal(U.T @ rivals.Muon.orthogonalised(G, 5) @ V.T)
        kept = values[s > 0.02 * s[0]]
        assert kept.min() > 0.6
        assert kept.max() < 1.3


def test_muon_does_what_the_one_of_torch_does(rivals, torch):
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    results = []
    for kind, options in (
        (rivals.Muon, {}),
        (torch.optim.Muon, {"adjust_lr_fn": "match_rms_adamw"}),
    ):
        torch.manual_seed(0)
        w = torch.randn(6, 9, requires_grad=True)
        target, optimiser = torch.randn(6, 9), kind([w], lr=0.01, weight_decay=0.5, **options)
        for _ in range(5):
            optimiser.zero_grad()
            (w - target).square().sum().backward()
            optimiser.step()
        results.append(w.detach())
    assert torch.allclose(*results, atol=5e-3)  # that one computes in bfloat16


def test_every_parameter_has_one_optimiser(rivals, torch, data):
    for method in RIVALS[:2]:
        for first in (True, False):
            setting = {"rate": 0.1, "weight_decay": 0.2, "activation": "gelu", "start": "scaled"}
            setting |= {"first": first}
            model = rivals.make_model(data, setting)
            groups = rivals.make_optimiser(method, model, setting, 10).param_groups
            found = [id(w) for group in groups for w in group["params"]]
            assert sorted(found) == sorted(map(id, model.parameters()))
            for group in groups:
                assert group["weight_decay"] == (0.2 if group["params"][0].ndim == 2 else 0.0)


def test_rates_rise_and_fall(rivals):
    rate = rivals.rate_at(2.0, 10)
    assert [rate(k) for k in (0, 5, 9)] == pytest.approx([2.0, 1.0, 0.2])
    rate = rivals.rate_at(2.0, 100, 0.1)
    assert rate(0) == pytest.approx(0.2)
    assert rate(9) == pytest.approx(2.0 * 0.91)


def test_inputs_are_scaled_by_the_training_data(rivals):
    X = np.array([[1.0, 5.0], [3.0, 5.0]], np.float32)
    assert rivals.scaled("raw", X) == (None, None)
    mean, spread = rivals.scaled("centred", X)
    assert (mean.tolist(), spread) == ([2.0, 5.0], None)
    mean, spread = rivals.scaled("standardised", X)
    assert spread.tolist() == [1.0, 1.0]  # a column that does not vary is only shifted


# --- all of it ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_tiny_run_resumes_and_reports(tmp_path, torch):
    if not BENCH.exists():
        pytest.skip("the benchmarks are not here")
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")

    def call(*words):
        command = [sys.executable, str(BENCH / "bench_budgets.py"), "--out", str(tmp_path), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=500, env=os.environ, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    words = ("--sets", "digits", "--methods", "lysep_fast, default", "Muon", "--trials", "2")
    words += ("--seeds", "1", "--budgets", "0.1")
    call(*words)
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(r["method"], r["stage"]) for r in records] == [
        ("Muon", "tune"),
        ("Muon", "tune"),
        ("lysep_fast, default", "final"),
        ("Muon", "final"),
    ]
    assert all(r["seconds"] > 0 and 0 <= r["accuracy"] <= 1 for r in records)
    again = call(*words)
    assert again.stderr == ""
    assert (tmp_path / "results.jsonl").read_text().splitlines() == lines
    assert (tmp_path / "report.md").read_text() in again.stdout
    assert (tmp_path / "budgets.png").read_bytes()[:4] == b"\x89PNG"
