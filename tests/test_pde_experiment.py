"""The experiment on differential equations: resuming, tables, figures, the rival in torch."""

import csv
import os

import manual
import numpy as np
import pytest
from experiments import NEEDS_TORCH, part, runs
from tiny_experiments import shrink_pde

from lysep_fast import cli
from lysep_fast.kernels._jit import JIT_ENABLED
from lysep_fast.pde import solve

scripts, pde = cli.load_experiment("pde")


tasks, report, methods = part("_pde_tasks"), part("_pde_report"), part("_pde_methods")
recorder, rival, examples = part("_pde_recorder"), part("_pde_torch"), part("_pde_examples")

OURS = ["alternating", "nesterov", "random-features", "variable-projection", "wide"]
FIGURES = ["error_time.png", "loss_iterations.png", "solutions.png"]


@pytest.fixture
def tiny(monkeypatch):
    shrink_pde(monkeypatch.setattr)


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(report.Report, "draw", lambda self, out: [])


@pytest.fixture
def counted(monkeypatch):
    """Note the runs of the package's solvers."""
    calls, original = [], methods.run_solver

    def run_solver(problem, recorder, **settings):
        calls.append((settings["solver"], settings["seed"]))
        return original(problem, recorder, **settings)

    monkeypatch.setattr(methods, "run_solver", run_solver)
    return calls


def reproduce(out, arguments="--problems poisson-2d --seeds 2 --sweeps 3"):
    return cli.main(["reproduce", "pde", "--out", str(out), *arguments.split()])


# --- the whole ---------------------------------------------------------------------------------


def test_everything_is_written_and_listed(tiny, no_torch, tmp_path, capsys):
    assert reproduce(tmp_path, "--problems heat,poisson-2d --seeds 2 --sweeps 3") == 0
    printed = capsys.readouterr().out
    names = ["results.json", "table.csv", "table.md", *FIGURES]
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert all(str(tmp_path / name) in printed for name in names)
    assert "install a CPU build" in printed
    assert "needs torch" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_seeds_begin_behind_those_of_the_tuning(tiny, no_torch, no_figures, tmp_path):
    assert reproduce(tmp_path) == 0
    assert sorted(runs(tmp_path)) == [f"poisson-2d/{name}/{s}" for name in OURS for s in (3, 4)]
    full, quick = (
        pde.make_plan(scripts.RunOptions(out=tmp_path, quick=quick)) for quick in (False, True)
    )
    assert full.seeds["poisson-2d"] == tuple(range(3, 13))
    assert full.problems == tuple(pde.KNOWN)
    assert all(len(seeds) == 2 for seeds in quick.seeds.values())


def test_curves_fit_together(tiny, no_torch, no_figures, tmp_path):
    assert reproduce(tmp_path) == 0
    for key, run in runs(tmp_path).items():
        result = run["result"]
        curves = result["curves"]
        assert len({len(curve) for curve in curves.values()}) == 1
        for name in ("iterations", "seconds"):
            assert np.all(np.diff(curves[name]) >= 0), key
        assert np.all(np.diff(curves["J"]) <= 0), key
        assert curves["J"][-1] == result["J"]
        assert curves["error"][-1] == result["error"]
    main = runs(tmp_path)["poisson-2d/variable-projection/3"]
    assert main["result"]["iterations"] == 3
    assert {"history", "damping"} <= main["settings"]["solver_options"].keys()


def test_figures_of_a_run_are_those_of_solve(tiny, no_torch, no_figures, tmp_path):
    assert reproduce(tmp_path) == 0
    example = pde.KNOWN["poisson-2d"]
    problem = example.make()
    solution = solve(problem, (4, 4), max_iter=3, random_state=3, tol=0.0, **pde.POINTS)
    result = runs(tmp_path)["poisson-2d/variable-projection/3"]["result"]
    assert result["J"] == pytest.approx(solution.loss, rel=1e-5)
    X = problem.domain.interior(20, np.random.default_rng(pde.TEST_SEED))
    assert result["error"] == pytest.approx(solution.error(X), rel=1e-5)


def test_tables_are_those_of_the_results_file(tiny, no_torch, tmp_path):
    assert reproduce(tmp_path, "--problems poisson-2d --seeds 3 --sweeps 3") == 0
    found = runs(tmp_path)
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    start = lines.index("## Relative L2 error at equal time")
    table = [[c.strip() for c in line.split("|")[1:-1]] for line in lines[start + 2 : start + 5]]
    cells = dict(zip(table[0], table[2], strict=True))
    for name in OURS:
        errors = [found[f"poisson-2d/{name}/{seed}"]["result"]["error"] for seed in (3, 4, 5)]
        cell = cells[f"{tasks.MODELS[name].title}, ours"]
        assert cell.removesuffix(f" {report.SHORT}") == f"{np.median(errors):.1e}"
    assert cells["variable projection, reference"] == "1.4e-04"
    assert cells["variable projection, ours"].endswith(report.SHORT)  # three iterations
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * len(OURS)
    for row in rows:
        result = found[f"{row['problem']}/{row['model']}/{row['seed']}"]["result"]
        assert float(row["J"]) == result["J"]
        assert float(row["error"]) == result["error"]


def test_figures_show_something_and_leave_matplotlib_alone(tiny, no_torch, tmp_path):
    import matplotlib
    from matplotlib.image import imread

    before = dict(matplotlib.rcParams)
    assert reproduce(tmp_path) == 0
    assert dict(matplotlib.rcParams) == before
    assert sorted(path.name for path in tmp_path.glob("*.png")) == FIGURES
    for path in tmp_path.glob("*.png"):
        image = imread(path)
        assert min(image.shape[:2]) > 500, path.name
        assert len(np.unique(image[::4, ::4].reshape(-1, image.shape[2]), axis=0)) > 50, path.name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--problems burgers", ["--problems", "'burgers'", "poisson-2d, "]),
        ("--rows 1", ["--rows", "--problems"]),
        ("--solver nesterov", ["--solver", "all solvers"]),
        ("--data somewhere", ["--data", "no files"]),
    ],
)
def test_wrong_usage(arguments, words, tmp_path, capsys):
    assert reproduce(tmp_path / "out", arguments) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words)
    assert not (tmp_path / "out").exists()


def test_the_other_experiments_refuse_problems(tmp_path, capsys):
    command = ["reproduce", "circle", "--out", str(tmp_path), "--problems", "heat"]
    assert cli.main(command) == 2
    assert "--rows" in capsys.readouterr().err


# --- resuming ----------------------------------------------------------------------------------


def test_a_second_call_repeats_nothing(tiny, no_torch, no_figures, counted, tmp_path, capsys):
    assert reproduce(tmp_path) == 0
    first = (tmp_path / "results.json").read_bytes()
    assert reproduce(tmp_path) == 0
    assert len(counted) == 10
    assert (tmp_path / "results.json").read_bytes() == first
    assert "finished runs kept from results.json: 10" in capsys.readouterr().err


def test_more_seeds_add_to_what_is_there(tiny, no_torch, no_figures, counted, tmp_path):
    assert reproduce(tmp_path, "--problems heat --seeds 1 --sweeps 3") == 0
    assert reproduce(tmp_path, "--problems heat --seeds 2 --sweeps 3") == 0
    assert [seed for _, seed in counted] == [3] * 5 + [4] * 5


def test_a_changed_budget_runs_everything_again(tiny, no_torch, no_figures, counted, tmp_path):
    assert reproduce(tmp_path, "--problems heat --seeds 1 --sweeps 3") == 0
    assert reproduce(tmp_path, "--problems heat --seeds 1 --sweeps 4") == 0
    assert len(counted) == 10


# --- recording -----------------------------------------------------------------------------------


def test_the_recorder_keeps_the_best_and_notes_it_at_every_budget(monkeypatch):
    class Clock:
        seconds = 0.0
        paused = recorder.Clock.paused
        _excluded = 0.0

    monkeypatch.setattr(recorder, "Clock", Clock)

    class Judge:
        def error(self, network):
            return 10 * network

        def difference(self, network):
            return None

    seen = recorder.Recorder(Judge(), [2.0, 5.0], advance=lambda: None)
    for k, J in enumerate([4.0, 3.0, 3.5, float("nan"), 1.0, 2.0]):
        seen.clock.seconds = float(k)
        assert not seen.done
        seen.offer(k, J, lambda J=J: J)
    assert seen.done
    assert [(a["iterations"], a["J"], a["error"]) for a in seen.at] == [(2, 3, 30), (5, 1, 10)]
    result = seen.finish()
    assert result["J"] == 3.0
    assert result["curves"]["J"][:6] == [4.0, 3.0, 3.0, 3.0, 1.0, 1.0]


def test_what_ends_early_counts_for_all_budgets():
    problem = examples.EXAMPLES[0].make()
    judge = recorder.Judge(problem, "tanh", np.full((1, 2), 0.3))
    seen = recorder.Recorder(judge, [50.0, 100.0])
    found = methods.run_solver(
        problem, seen, solver="random-features", solver_options={}, hidden_layer_sizes=(4,),
        max_iter=9, seed=0, n_threads=1, n_interior=20, n_boundary=8,
    )  # fmt: skip
    assert found["at"][0] == found["at"][1]
    assert found["status"] == "SOLVED"


# --- torch ---------------------------------------------------------------------------------------


@NEEDS_TORCH
@pytest.mark.parametrize("example", examples.EXAMPLES, ids=lambda e: e.name)
def test_torch_has_the_same_loss_and_the_same_gradient(example):
    problem = example.make()
    points = {"n_interior": 30, "n_boundary": 12, "boundary_weight": 100.0}
    points["scale"] = 0.4
    start = solve(problem, (5, 4), max_iter=0, random_state=1, **points)
    pinn = rival.Pinn(problem, (problem.dimension, 5, 4), seed=1, **points)
    np.testing.assert_allclose(pinn.network().hidden.theta, start.hidden.theta, rtol=1e-14)
    pinn.load(recorder.Network(start.hidden, start.w))
    assert float(pinn.differentiate()) == pytest.approx(start.loss, rel=1e-9)
    # The output weights are optimal: no gradient there, beside a large one elsewhere.
    sizes = [float(p.grad.abs().max()) for p in (pinn.w, pinn.layers[0][0])]
    assert sizes[0] < 1e-6 * max(1.0, sizes[1])


@NEEDS_TORCH
@pytest.mark.parametrize("method", ["adam", "lbfgs", "adam-lbfgs"])
def test_torch_lowers_the_loss_and_stops_in_time(method):
    import torch

    problem = examples.EXAMPLES[0].make()
    threads = torch.get_num_threads()
    pinn = rival.Pinn(
        problem, (2, 5), scale=0.6, n_interior=30, n_boundary=12, boundary_weight=100.0, seed=0
    )
    first = float(pinn.loss().detach())
    judge = recorder.Judge(problem, "tanh", np.full((1, 2), 0.3))
    found = rival.train(pinn, recorder.Recorder(judge, [0.1, 0.3]), method, 1e-2, 0.5, 1)
    assert found["at"][1]["J"] <= found["J"] < first
    assert found["at"][1]["seconds"] < 10
    assert torch.get_num_threads() == threads


@NEEDS_TORCH
def test_the_rival_stands_in_table_and_figures(tiny, tmp_path, capsys):
    assert reproduce(tmp_path, "--problems hard-boundary-2d --seeds 1 --sweeps 2") == 0
    assert "CPU build" not in capsys.readouterr().out
    found = runs(tmp_path)
    rate = found["hard-boundary-2d/adam/rate"]["result"]
    assert rate["rate"] == rate["rates"][int(np.argmin(rate["J"]))]
    for name in ("adam", "lbfgs", "adam-lbfgs"):
        result = found[f"hard-boundary-2d/{name}/3"]["result"]
        assert len(result["at"]) == len(tasks.FACTORS)
        assert len(result["difference"]) == 81
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "needs torch" not in table
    assert "1 of 1" in table or "0 of 1" in table


# --- the guide -----------------------------------------------------------------------------------


@pytest.mark.skipif(not JIT_ENABLED, reason="takes minutes without compiled kernels")
def test_the_code_of_the_guide_runs(capsys):
    assert len(manual.python_blocks("pde.md")) == 4
    manual.run_blocks("pde.md")
    assert capsys.readouterr().out
