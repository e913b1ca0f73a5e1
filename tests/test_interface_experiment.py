"""The interface experiment: files, tables, figures, the race of the solvers; on tiny settings."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from experiments import NEEDS_TORCH, part, runs

from lysep_fast import cli

scripts, interface = cli.load_experiment("interface")


models, report, curves = part("_models"), part("_interface_report"), part("_curves")
figures = part("_classification_figures")


@pytest.fixture
def tiny(monkeypatch):
    """Shrink the experiment, so that it is fast with the JIT off too."""
    rows = {k: dataclasses.replace(row, width=4) for k, row in interface.ROWS.items()}
    for name, value in {
        "ROWS": rows, "N_TRAIN": 40, "N_TEST": 30, "N_GRID": 16, "TIME_STEP": 0.5, "MAP_POINTS": 6,
    }.items():  # fmt: skip
        monkeypatch.setattr(interface, name, value)


def reproduce(out, arguments):
    return cli.main(["reproduce", "interface", "--out", str(out), *arguments.split()])


# --- the whole ---------------------------------------------------------------------------------


def test_everything_is_written_without_torch_too(tiny, no_torch, tmp_path, capsys):
    assert reproduce(tmp_path, "--rows 1,4,12 --seeds 1 --sweeps 2 --threads 1") == 0
    printed = capsys.readouterr().out
    names = ["results.json", "table.md"]
    for network in ("3x4", "10x4"):
        names += [f"{kind}_{network}.png" for kind in
                  ("interface", "loss_accuracy", "loss_accuracy_time")]  # fmt: skip
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert all(str(tmp_path / name) in printed for name in names)
    assert "install a CPU build" in printed
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| 12 (10, 4), t = 24 " in table
    assert "needs torch" in table
    found = runs(tmp_path)
    assert {key.split("/")[1] for key in found} == {"lysep", "fast", "frozen"}
    # The slices differ in their labels, and so do the runs.
    a, b = (found[f"row {k}/lysep/0"] for k in (1, 4))
    assert (a["settings"]["data"]["slice"], b["settings"]["data"]["slice"]) == (1, 4)
    assert a["result"]["curves"]["loss"] != b["result"]["curves"]["loss"]


@NEEDS_TORCH
def test_all_models_run_and_stand_in_the_tables(tiny, tmp_path):
    assert reproduce(tmp_path, "--rows 4 --seeds 2 --sweeps 2 --threads 1") == 0
    found = runs(tmp_path)
    for model in ("lysep", "frozen", "descent", "fast", "adam", "lbfgs"):
        assert {f"row 4/{model}/{seed}" for seed in (0, 1)} <= found.keys()
    for model in ("descent", "adam"):
        rate = found[f"row 4/{model}/rate"]["result"]
        assert rate["rate"] == rate["rates"][int(np.argmin(rate["losses"]))]
        assert found[f"row 4/{model}/1"]["result"]["rate"] == rate["rate"]
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "needs torch" not in table
    first = (tmp_path / "results.json").read_bytes()
    assert reproduce(tmp_path, "--rows 4 --seeds 2 --sweeps 2 --threads 1") == 0
    assert (tmp_path / "results.json").read_bytes() == first


def test_files_are_refused(tmp_path, capsys):
    assert reproduce(tmp_path, f"--data {tmp_path}") == 2
    assert "--data" in capsys.readouterr().err
    assert reproduce(tmp_path, "--rows 13") == 2
    assert "no row 13 in Table 5.2" in capsys.readouterr().err


# --- settings ----------------------------------------------------------------------------------


def test_rows_are_those_of_the_paper():
    rows = interface.ROWS
    assert [(row.depth, row.part) for row in rows.values()] == [
        (depth, part) for depth in (3, 6, 10) for part in (1, 2, 3, 4)
    ]
    assert {row.width for row in rows.values()} == {100}
    # Later slices are easier in the paper, deeper networks harder.
    for k in (1, 5, 9):
        assert rows[k].paper_lysep_loss[0] > rows[k + 3].paper_lysep_loss[0]
        assert rows[k].levels == pytest.approx(
            (rows[k].paper_lysep_loss[0], rows[k].paper_lysep_loss[0] / 10)
        )
    for k in range(1, 9):
        assert rows[k].paper_lysep_loss[0] < rows[k + 4].paper_lysep_loss[0]
    for row in rows.values():
        assert row.quick_sweeps < row.sweeps
        assert row.paper_lysep_accuracy[0] > row.paper_ce_accuracy[0]


def test_quick_plan_is_smaller():
    quick, full = (
        interface.make_plan(scripts.RunOptions(Path(), quick=quick)) for quick in (True, False)
    )
    assert full.rows == tuple(range(1, 13))
    assert full.seeds == 10
    assert set(quick.rows) < set(full.rows)
    assert quick.seeds < full.seeds
    assert quick.rival_iterations[1]["adam"] < full.rival_iterations[1]["adam"]
    assert full.rival_iterations[1]["lbfgs"] > full.rival_iterations[12]["lbfgs"]


# --- times until a loss ------------------------------------------------------------------------

CURVES = {"loss": [0.9, 0.5, 0.6, 0.2, 0.1], "seconds": [0.0, 1.0, 2.0, 3.0, 4.0]}


def test_the_first_time_at_or_below_a_level_counts():
    assert curves.reached(CURVES, (0.9, 0.5, 0.3, 0.01)) == [0.0, 1.0, 3.0, None]
    assert curves.reached({"loss": [None, 0.1], "seconds": [0.0, 2.5]}, (0.2,)) == [2.5]


def test_thin_curves_keep_times_and_iterations():
    loss = np.linspace(1.0, 0.0, 401)
    whole = {"loss": loss, "seconds": np.arange(401.0)}
    thin = curves.thin(whole, 20, 401)
    assert len(thin["loss"]) <= 20
    assert thin["iterations"][0] == 0
    assert thin["iterations"][-1] == 400
    np.testing.assert_array_equal(thin["loss"], loss[thin["iterations"]])
    # Runs of different lengths keep the same iterations.
    short = curves.thin({name: curve[:200] for name, curve in whole.items()}, 20, 401)
    np.testing.assert_array_equal(short["iterations"], thin["iterations"][: len(short["loss"])])
    run = {"curves": thin, "reached": curves.reached(whole, (0.3, -1.0))}
    assert curves.times_to(run, (0.3, -1.0)) == [280.0, None]
    assert curves.times_to({"curves": whole}, (0.3,)) == [280.0]


def make_report(found, rows=(1,), n_seeds=2):
    """Return a report over results ``{(row, model): [(loss, reached, seconds), ...]}``."""
    plan = interface.make_plan(scripts.RunOptions(Path(), rows=rows, seeds=n_seeds))
    points = np.zeros((4, 2))
    data = {part: models.Data(points, np.arange(4) % 2, points, np.arange(4) % 2)
            for part in (1, 2, 3, 4)}  # fmt: skip
    cases = {k: interface.make_case(k, plan, data) for k in plan.rows}
    results = {}
    for (k, model), values in found.items():
        for seed, (loss, reached, seconds) in enumerate(values):
            results[cases[k].key(model, seed)] = {
                "loss": loss, "accuracy": 0.9, "test_loss": loss, "test_accuracy": 0.9,
                "rate": 1.0, "n_iter": 5, "seconds": seconds, "reached": reached, "F_rises": 0,
                "F_largest_rise": -0.1, "loss_over_bound": 0.5,
            }  # fmt: skip
    fields = {part: np.full((4, 4), 1.0) for part in (1, 2, 3, 4)}
    return report.Report(interface.ROWS, cases, n_seeds, results, "note", False, fields=fields)


def cells(text, heading, k):
    lines = text.split(heading)[1].splitlines()
    line = next(line for line in lines if line.startswith(f"| {k} ("))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_times_are_means_and_lower_bounds_where_runs_fall_short():
    made = make_report(
        {
            (1, "lysep"): [(1e-2, [4.0, None], 9.0), (1e-2, [6.0, None], 9.0)],
            (1, "fast"): [(1e-3, [1.0, 2.0], 2.0), (1e-3, [2.0, 3.0], 3.0)],
            (1, "lbfgs"): [(1e-3, [3.0, 4.0], 4.0), (2e-1, [None, None], 8.0)],
        }
    )
    row = cells(made.markdown(), "## Seconds until", 1)
    assert row[1:6] == ["1.67e-2", "5.00", "1.50", "≥ 5.50 (1 of 2)", "needs torch"]
    assert row[7:10] == ["1.67e-3", "2.50", "≥ 6.00 (1 of 2)"]
    assert made.race_remarks() == [
        "The fast solver needed less time than L-BFGS to reach the paper's LySep loss in row 1."
    ]


def test_the_bad_news_of_the_race_comes_first():
    good, bad = [(1e-3, [1.0, 2.0], 2.0)], [(1e-3, [3.0, 4.0], 4.0)]
    none = [(1e-1, [None, None], 4.0)]
    made = make_report(
        {(1, "fast"): bad, (1, "lbfgs"): good, (2, "fast"): none, (2, "lbfgs"): none,
         (3, "fast"): good, (3, "lbfgs"): none, (4, "fast"): good, (4, "lbfgs"): bad,
         **{(k, "lysep"): good for k in (1, 2, 3, 4)}},
        (1, 2, 3, 4), 1,
    )  # fmt: skip
    first, second, third = made.race_remarks()
    assert "did not reach the paper's LySep loss in all runs of row 2" in first
    assert "L-BFGS needed less time than the fast solver" in second
    assert "row 1" in second
    assert "rows 3, 4" in third


def test_rivals_are_named_once_with_all_their_rows():
    made = make_report(
        {(k, m): [(loss, [1.0, None], 1.0)] for k in (1, 2)
         for m, loss in (("lysep", 1e-2), ("fast", 1e-3), ("frozen", 1e-1))},
        (1, 2), 1,
    )  # fmt: skip
    (remark,) = made.rival_remarks()
    assert remark == (
        "fast solver reached a lower training loss and a lower test loss than LySep-FNN in "
        "rows 1, 2."
    )


# --- pictures ----------------------------------------------------------------------------------


def test_the_border_is_drawn_where_the_solution_changes_sign():
    figure = figures.new_figure(3, 3)
    ax = figure.subplots()
    x = -1 + 2 / 64 * np.arange(64)
    u = 0.25 - (x[:, None] ** 2 + 4 * x**2)  # first axis of the array along x_1
    figures.zero_level(u)(ax)
    (path,) = ax.collections[0].get_paths()
    vertices = path.vertices[: len(path.vertices) - 1]
    np.testing.assert_allclose(vertices[:, 0] ** 2 + 4 * vertices[:, 1] ** 2, 0.25, atol=5e-3)


def test_the_true_interface_is_a_map_of_its_own():
    made = make_report({(1, "lysep"): [(1e-2, [1.0, None], 1.0)]}, n_seeds=1)
    u = np.where(np.arange(4) >= 2, 1.0, -1.0)[:, None] * np.ones(4)  # u > 0 where x_1 >= 0
    made.fields[1] = u
    points = np.array([[-0.5, 0.0], [0.25, -0.5]])
    case = made.cases[1]
    data = models.Data(case.data.X, case.data.y, points, np.array([0, 1]), points)
    made.cases[1] = dataclasses.replace(case, data=data)
    made.results[case.key("lysep", 0)] |= {"test_predictions": "01", "map": "01"}
    column = made._column(1)
    np.testing.assert_array_equal(column.predictions["truth"].map, [0, 1])
    assert list(column.predictions) == ["lysep", "truth"]
    assert column.title == "t = 0.5"
