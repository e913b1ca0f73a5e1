"""The command line: exit codes, messages, loading of the experiments."""

import subprocess
import sys
from pathlib import Path

import pytest

import lysep_fast
from lysep_fast import cli
from lysep_fast.commands import experiments

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def asked(monkeypatch):
    """Replace the circle experiment by one that notes what it is asked for."""
    seen = []
    _, circle = cli.load_experiment("circle")
    monkeypatch.setattr(circle, "run", lambda options: seen.append(options) or "the report ±▼")
    return seen


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"lysep-fast {lysep_fast.__version__}\n"


def test_python_m_runs_the_command():
    command = [sys.executable, "-m", "lysep_fast", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.split() == ["lysep-fast", lysep_fast.__version__]


def test_no_command_prints_the_help(capsys):
    assert cli.main([]) == 2
    assert "reproduce" in capsys.readouterr().out


def test_help_lists_every_experiment(capsys):
    assert cli.main(["reproduce", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in cli.EXPERIMENTS)


@pytest.mark.parametrize("name", cli.EXPERIMENTS)
def test_every_experiment_loads(name):
    before, modules = list(sys.path), set(sys.modules)
    scripts, module = cli.load_experiment(name)
    assert callable(module.run)
    assert module.__package__ == scripts.__name__ != "scripts"
    assert sys.path == before
    assert not [m for m in set(sys.modules) - modules if m.split(".")[0] == "scripts"]


def test_experiments_packed_into_a_wheel_come_first(tmp_path, monkeypatch):
    package = tmp_path / "site" / "lysep_fast"
    for folder in (package / "_scripts", tmp_path / "site" / "scripts"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    monkeypatch.setattr(experiments, "__file__", str(package / "commands" / "experiments.py"))
    assert experiments._scripts_folder() == (package / "_scripts").resolve()
    (package / "_scripts" / "__init__.py").unlink()
    assert experiments._scripts_folder() == (tmp_path / "site" / "scripts").resolve()


def test_an_installation_without_experiments_says_so(tmp_path, monkeypatch, capsys):
    place = tmp_path / "lysep_fast" / "commands" / "experiments.py"
    monkeypatch.setattr(experiments, "__file__", str(place))
    monkeypatch.setattr(experiments, "_PACKAGE", "_lysep_fast_no_scripts")
    assert cli.main(["reproduce", "circle", "--out", str(tmp_path)]) == 1
    assert "no experiments" in capsys.readouterr().err


def test_arguments_reach_the_experiment(asked, capsys):
    line = (
        "reproduce circle --out o --quick --rows 4,1 --seeds 2 --sweeps 7 --threads 1 --solver s "
        "--data d"
    )
    assert cli.main(line.split()) == 0
    (options,) = asked
    assert options.out == Path("o")
    assert options.quick
    assert options.rows == [4, 1]
    assert (options.seeds, options.sweeps, options.threads) == (2, 7, 1)
    assert options.solver == "s"
    assert options.data == Path("d")
    assert capsys.readouterr().out == "the report ±▼\n"


def test_defaults_are_the_experiments_own(asked):
    assert cli.main(["reproduce", "circle", "--out", "o"]) == 0
    (options,) = asked
    assert not options.quick
    assert options.rows is options.seeds is options.sweeps is options.threads is None
    assert options.solver is options.data is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--rows 1;4", ["--rows", "'1;4'", "1,4"]),
        ("--rows 0", ["--rows", "'0'"]),
        ("--rows ,", ["--rows", "','"]),
        ("--seeds 0", ["--seeds", "'0'", "at least 1"]),
        ("--seeds many", ["--seeds", "'many'", "whole number"]),
        ("--sweeps -2", ["--sweeps"]),
        ("--threads 1.5", ["--threads", "'1.5'"]),
        ("--sedes 3", ["--sedes"]),
    ],
)
def test_wrong_values_are_named(arguments, words, capsys, asked):
    assert cli.main(["reproduce", "circle", "--out", "o", *arguments.split()]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert not asked


@pytest.mark.parametrize(
    "arguments", [["reproduce"], ["reproduce", "circle"], ["reproduce", "square", "--out", "o"]]
)
def test_incomplete_commands(arguments, capsys):
    assert cli.main(arguments) == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("circle --rows 1,6", ["--rows", "6", "Table 5.1", "1, 2, 3, 4, 5"]),
        ("circle --solver newton", ["--solver", "'newton'", "alternating"]),
        ("circle --data somewhere", ["--data", "draws its own points", "leave it out"]),
        ("mnist --rows 1,10", ["--rows", "10", "Table 5.3"]),
        ("mnist --solver newton", ["--solver", "'newton'", "unknown", "measured-sweeps"]),
        ("mnist --solver quasi-newton", ["--solver", "cannot train", "measured-sweeps"]),
    ],
)
def test_values_that_the_experiment_refuses(arguments, words, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["reproduce", *arguments.split(), "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert not out.exists()


def test_an_output_folder_that_is_a_file(tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    assert cli.main(["reproduce", "circle", "--out", str(file), "--quick"]) == 1
    assert str(file) in capsys.readouterr().err


@pytest.mark.parametrize("module", ["matplotlib", "tqdm"])
def test_missing_extras_come_with_the_command_that_brings_them(
    module, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(["reproduce", "circle", "--out", str(tmp_path / "o"), "--quick"]) == 1
    assert f"pip install {module}" in capsys.readouterr().err


def test_ctrl_c_tells_how_to_go_on(monkeypatch, capsys):
    _, circle = cli.load_experiment("circle")

    def run(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(circle, "run", run)
    assert cli.main(["reproduce", "circle", "--out", "some/place"]) == 130
    message = capsys.readouterr().err
    assert "kept" in message
    assert str(Path("some/place")) in message


def test_a_terminal_without_the_signs_gets_question_marks(asked, monkeypatch):
    import io

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert cli.main(["reproduce", "circle", "--out", "o"]) == 0
    sys.stdout.flush()
    assert raw.getvalue().decode("ascii").strip() == "the report ??"
