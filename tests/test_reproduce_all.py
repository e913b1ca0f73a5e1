"""All experiments with one command: resuming, killing, several processes, the report."""

import html.parser
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import tiny_experiments
from experiments import part

from lysep_fast import cli

ROOT = Path(__file__).resolve().parent.parent
scripts, everything = cli.load_experiment("all")


runner, workers, store, pages = part("_runner"), part("_workers"), part("_store"), part("_html")
REPORTS = ("report.md", "report.html")
TINY = "--quick --sweeps 3 --seeds 2 --threads 1"


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Hide the digits."""
    for name in ("LYSEP_DATA_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.fixture
def tiny(monkeypatch, nowhere, no_torch):
    tiny_experiments.shrink_all(monkeypatch.setattr)


def reproduce(out, arguments=TINY):
    return cli.main(["reproduce", "all", "--out", str(out), *arguments.split()])


def runs(out, name):
    file = out / name / "results.json"
    return json.loads(file.read_text(encoding="utf-8"))["runs"] if file.exists() else {}


def all_runs(out):
    return {(name, k): run for name in ("circle", "pde") for k, run in runs(out, name).items()}


# --- the whole ---------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Notes what a page points to."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.links, self.anchors, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        found = dict(attributes)
        self.sources += [found["src"]] if "src" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.anchors += [found["id"]] if "id" in found else []


def test_one_report_has_everything_and_needs_nothing_else(tiny, tmp_path, capsys):
    out = tmp_path / "out"
    assert reproduce(out) == 0
    said = capsys.readouterr()
    assert sorted(os.listdir(out)) == ["circle", "pde", *sorted(REPORTS)]
    assert "mnist: not done" in said.out
    assert "LYSEP_DATA_DIR" in said.out  # where the files are looked for, and the remedy
    assert "min left" in said.err or " s left" in said.err
    assert re.search(r"^\[ 1/32\] circle: row 1, LySep-FNN, seed 0: ", said.err, re.MULTILINE)
    text, web = ((out / name).read_text(encoding="utf-8") for name in REPORTS)
    for name in ("circle", "pde"):
        table = (out / name / "table.md").read_text(encoding="utf-8")
        lines = [line for line in table.splitlines() if line.startswith(("|", "- "))]
        assert len(lines) > 10
        assert all(line in text for line in lines)
        for picture in (out / name).glob("*.png"):
            assert f"({name}/{picture.name})" in text
    assert "| mnist" in text
    assert "**mnist**: not done" in text
    assert "Runs of CE-FNN, L-BFGS and Adam are missing: they need torch." in text
    assert "Runs of PINNs are missing: they need torch." in text
    assert "falls short of the paper's loss: " in text
    assert "lost in the paper's text" in text
    assert "| depth | width | sweeps |" in text
    assert f"| numpy          | {np.__version__}" in text
    assert str(tmp_path) not in text + web
    page = Page(web)
    n_pictures = len(list(out.glob("*/*.png")))
    assert len(page.sources) == n_pictures == 7
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in page.sources)
    assert page.links
    assert {link.removeprefix("#") for link in page.links} <= set(page.anchors)
    assert page.tags.count("table") >= 10
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_a_second_call_repeats_nothing_and_gives_the_same_report(tiny, tmp_path, capsys):
    assert reproduce(tmp_path) == 0
    files = [*(tmp_path / name for name in REPORTS), *tmp_path.glob("*/*")]
    before = {file: file.read_bytes() for file in files}
    capsys.readouterr()
    assert reproduce(tmp_path) == 0
    assert {file: file.read_bytes() for file in files} == before
    said = capsys.readouterr().err
    assert "circle: finished runs kept from results.json: 12" in said
    assert "[" not in said


def test_what_an_experiment_did_alone_counts(tiny, tmp_path, capsys):
    alone = ["reproduce", "circle", "--out", str(tmp_path / "circle"), *TINY.split()]
    assert cli.main(alone) == 0
    kept = runs(tmp_path, "circle")
    assert reproduce(tmp_path) == 0
    assert runs(tmp_path, "circle") == kept


def test_a_stop_keeps_all_finished_runs(tiny, tmp_path, monkeypatch):
    original, count = store.Store.add, []

    def add(self, *arguments, **options):
        if len(count) == 15:  # in the second experiment
            raise KeyboardInterrupt
        count.append(1)
        return original(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "add", add)
        assert reproduce(tmp_path) == 130
    kept = all_runs(tmp_path)
    assert len(kept) == 15
    assert (tmp_path / "circle" / "table.md").exists()  # as soon as its runs are done
    assert not (tmp_path / "report.md").exists()
    assert reproduce(tmp_path) == 0
    after = all_runs(tmp_path)
    assert len(after) == 32
    assert {key: after[key] for key in kept} == kept


# --- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("all --rows 1", ["--rows", "one by one"]),
        ("all --solver alternating", ["--solver", "one by one"]),
        ("all --problems heat", ["--problems", "one by one"]),
        ("all --jobs 0", ["--jobs", "at least 1"]),
        ("circle --jobs 2", ["--jobs", "leave it out"]),
    ],
)
def test_options_that_do_not_fit(arguments, words, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["reproduce", *arguments.split(), "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert not out.exists()


def test_digits_that_are_not_where_data_says_are_an_error(tiny, tmp_path, capsys):
    assert reproduce(tmp_path / "out", f"{TINY} --data {tmp_path}") == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_experiment_takes_part():
    names = [name for name in cli.EXPERIMENTS if name != "all"]
    assert set(names) <= set(everything.known())
    for name in everything.known():
        assert name in cli.EXPERIMENTS
        assert callable(cli.load_experiment(name)[1].make_job)


def test_threads_are_shared_and_only_readers_get_the_folder(tmp_path):
    options = scripts.RunOptions(tmp_path, threads=5, data=tmp_path, jobs=2, seeds=3)
    own = {name: everything.own_options(options, name, 2) for name in ("circle", "mnist")}
    assert own["mnist"] == scripts.RunOptions(
        tmp_path / "mnist", threads=2, data=tmp_path, seeds=3
    )
    assert own["circle"].data is None
    assert everything.threads_each(options, 9) == 1


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked")
def test_a_folder_in_use_is_refused(tiny, tmp_path, capsys):
    (tmp_path / "pde").mkdir()
    with store.locked(tmp_path / "pde"):
        assert reproduce(tmp_path) == 1
    assert "is in use" in capsys.readouterr().err
    assert not all_runs(tmp_path)


# --- several processes -------------------------------------------------------------------------


class Thread(threading.Thread):
    """Stands in for a process."""

    def terminate(self):
        pass


class Crew(workers.Crew):
    """Threads instead of processes, which is faster and sees what tests replace."""

    def _start(self, connection):
        own = Connection(os.dup(connection.fileno()))
        thread = Thread(target=self.serve, args=(own, *self._arguments), daemon=True)
        thread.start()
        return thread

    def serve(self, *arguments):
        workers.serve(*arguments)
        arguments[0].close()


class DyingCrew(Crew):
    def serve(self, connection, *_):
        connection.recv()
        connection.close()


def make_task(key, run):
    return runner.Task(key, key, {"key": key}, 2, run, str)


def double(results, advance):
    value = results["a/main/0"]["value"]
    advance()
    return {"value": 2 * value}


def slow(results, advance):
    for _ in range(3):
        advance()
        time.sleep(0.01)
    return {"value": 5}


def wrong(results, advance):
    raise ZeroDivisionError("in a run")


def unfit(results, advance):
    raise scripts.ExperimentError("a message for people")


def lonely(results, advance):
    return results["nobody"]


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Return a function that does tasks of an experiment of their own with two workers."""
    warm = []

    def do(tasks, crew_class=Crew):
        job = types.SimpleNamespace(tasks=tasks, warm_up=lambda: warm.append(1))
        module = types.SimpleNamespace(make_job=lambda options: job)
        monkeypatch.setitem(sys.modules, f"{scripts.__name__}.fake", module)
        monkeypatch.setattr(workers, "_TELL_EVERY", -1.0)
        kept, found = store.Store(tmp_path / "results.json", "fake", {}), []
        warm.clear()
        mine = runner.Part("fake", tasks, kept, before=wrong, after=found.append)
        with crew_class(2, {"fake": {"out": tmp_path}}, 1) as crew:
            runner.run_parts([mine], crew)
        return found, warm

    return do


def test_runs_wait_for_the_results_that_they_ask_for(fake, tmp_path, capsys):
    tasks = [make_task("a/rival/0", double), make_task("a/rival/1", double)]
    tasks += [make_task("a/main/0", slow), make_task("a/main/1", slow)]
    (results,), warm = fake(tasks)
    assert {key: result["value"] for key, result in results.items()} == {
        "a/rival/0": 10, "a/rival/1": 10, "a/main/0": 5, "a/main/1": 5,
    }  # fmt: skip
    assert 1 <= len(warm) <= 2  # once in each process that had something to do
    assert len(re.findall(r"^\[[1-4]/4\]", capsys.readouterr().err, re.MULTILINE)) == 4
    kept = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert {key: run["result"] for key, run in kept.items()} == results


def test_results_of_earlier_calls_are_given_too(fake):
    main = make_task("a/main/0", slow)
    fake([main])
    (results,), _ = fake([main, make_task("a/rival/0", double)])
    assert results["a/rival/0"] == {"value": 10}
    (again,), warm = fake([main, make_task("a/rival/0", double)])
    assert again == results
    assert not warm  # nothing to do


@pytest.mark.parametrize(
    ("run", "error", "words"),
    [
        (wrong, scripts.ExperimentError, "(?s)fake: b.*Traceback.*ZeroDivisionError: in a run"),
        (unfit, scripts.ExperimentError, "(?s)fake: b.*\na message for people$"),
        (lonely, RuntimeError, "not to be done.*nobody"),
    ],
)
def test_a_run_that_fails_is_named(fake, run, error, words):
    with pytest.raises(error, match=words):
        fake([make_task("a/main/0", slow), make_task("b", run)])


def test_a_process_that_dies_is_reported(fake):
    with pytest.raises(scripts.ExperimentError, match=r"died during fake: a.*same command"):
        fake([make_task("a", slow)], DyingCrew)


def spawn(arguments, *, tiny=False):
    """Start the command in a process of its own that finds neither torch nor the digits."""
    script = ["-m", "lysep_fast"]
    if tiny:
        script = [str(ROOT / "tests" / "tiny_experiments.py")]
    return subprocess.Popen(
        [sys.executable, *script, "reproduce", "all", *arguments.split()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.environ["FAKE"], str(ROOT)])},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture
def apart(nowhere, monkeypatch, tmp_path):
    """Prepare for processes of their own."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "torch.py").write_text("raise ImportError")
    monkeypatch.setenv("FAKE", str(tmp_path / "fake"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_processes_end_with_the_first_one_and_lose_no_finished_run(apart):
    out = apart / "out"
    command = f"--out {out} --quick --sweeps 2 --seeds 1 --threads 2 --jobs 2"
    process = spawn(command)
    while process.poll() is None and len(all_runs(out)) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)  # returns when the others have ended too: they share stderr
    kept = all_runs(out)
    process = spawn(command)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    after = all_runs(out)
    assert {key: after[key] for key in kept} == kept
    assert len(runs(out, "circle")) == 6
    assert len(runs(out, "pde")) == 15
    text = (out / "report.md").read_text(encoding="utf-8")
    done = len(everything.known()) - 1  # all but the digits
    assert text.count("**Times are not comparable**") == done
    assert "6 of 6 runs were done with 2 at the same time" in text
    assert re.search(r"\| runs at once +\| 2 ", text)


# --- killing -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_five_times_it_gives_the_same_report_to_the_byte(apart):
    rng, more = np.random.default_rng(), TINY.replace("--seeds 2", "--seeds 4")
    whole, broken = apart / "whole", apart / "broken"
    process = spawn(f"--out {whole} {more}", tiny=True)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    wanted = all_runs(whole)
    for _ in range(5):
        kept = all_runs(broken)
        # Without a new run: soon after the start.
        goal = min(len(wanted), len(kept) + int(rng.integers(0, 8)))
        process = spawn(f"--out {broken} {more}", tiny=True)
        while process.poll() is None and len(all_runs(broken)) < goal:
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        after = all_runs(broken)
        assert len(after) >= goal
        assert {key: after[key] for key in kept} == kept
        assert all(wanted[key] == run for key, run in after.items())
    kept = len(all_runs(broken))
    process = spawn(f"--out {broken} {more}", tiny=True)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    # Equal results could also come from doing everything again: count what was done.
    assert sum(map(int, re.findall(r"runs kept from results\.json: (\d+)", said))) == kept
    assert len(re.findall(r"^\[ *\d+/", said, re.MULTILINE)) == len(wanted) - kept
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert (
        sorted(path.relative_to(broken) for path in broken.rglob("*") if path.is_file()) == files
    )
    for file in files:
        assert (broken / file).read_bytes() == (whole / file).read_bytes(), file
