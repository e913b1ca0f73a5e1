"""Set lysep_fast up on a fresh machine, then run the quick experiment or the tests.

    python3 scripts/quickstart.py                # set up, run the circle experiment (quick)
    python3 scripts/quickstart.py test [ARGS]    # set up, run the tests; ARGS go to pytest

It needs Python 3.10 or newer and nothing else installed; an operating system that keeps its own
Python closed to pip (Debian and others) is fine. Everything goes into a virtual environment:
`.venv` in the checkout, or the folder that the variable LYSEP_VENV names. A second call finds
the work done and starts at once.
"""

# Only the standard library, and only syntax that Python 3.7 still reads: an old Python has to
# get as far as the message that it is too old.

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MIN_PYTHON = (3, 10)

# torch is not here on purpose: its plain name can bring gigabytes of GPU libraries.
EXTRAS = {"run": "reproduce", "test": "test"}

STAMP = "lysep-quickstart.txt"
INCOMPLETE = "incomplete"


class SetupError(Exception):
    """Something the reader has to mend; the message says what and how."""


def check_python(version=None):
    """Refuse a Python that is too old."""
    version = tuple(version or sys.version_info)
    if version[:2] < MIN_PYTHON:
        raise SetupError(
            "lysep_fast needs Python {}.{} or newer; this is Python {}.{}.\n"
            "Call the script with a newer one, for example: python3.12 {}".format(
                *MIN_PYTHON, *version[:2], Path("scripts", "quickstart.py")
            )
        )


def parse_arguments(arguments):
    """Return the job, "run", "test" or "help", and what to pass on to pytest."""
    if not arguments:
        return "run", []
    if arguments[0] == "test":
        return "test", list(arguments[1:])
    if arguments[0] in ("-h", "--help"):
        return "help", []
    raise SetupError(f"unknown argument {arguments[0]!r}\n\n{__doc__.strip()}")


def job_command(job, venv, arguments):
    """Return the command that does the job inside the environment."""
    if job == "test":
        return [str(venv_program(venv, "python")), "-m", "pytest", *arguments]
    out = str(Path("results", "circle"))
    program = str(venv_program(venv, "lysep-fast"))
    return [program, "reproduce", "circle", "--quick", "--out", out]


# --- the environment ---------------------------------------------------------------------------


def venv_folder(environ):
    """Return the folder of the virtual environment, absolute."""
    named = environ.get("LYSEP_VENV")
    # abspath, not resolve: the folder may be a link, and its name as given is what is printed.
    return Path(os.path.abspath(os.path.expanduser(named))) if named else ROOT / ".venv"


def venv_program(venv, name, windows=None):
    """Return where a program of the environment lies."""
    windows = os.name == "nt" if windows is None else windows
    return venv / "Scripts" / (name + ".exe") if windows else venv / "bin" / name


def child_environ(environ):
    """Return the environment for child processes, without what would redirect Python or pip."""
    # Packages seen through PYTHONPATH would count as installed; the pip variables would send the
    # packages somewhere else or make pip refuse to work outside an active environment.
    dropped = {"PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV"}
    dropped |= {"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV"}
    return {name: value for name, value in environ.items() if name not in dropped}


def call(command, environ):
    """Run a command quietly in the checkout; return whether it succeeded and what it printed."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=str(ROOT),
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        return False, str(error)
    return done.returncode == 0, done.stdout.strip()


def python_in(venv, environ):
    """Return the version of the environment's Python as text, or None when it does not run."""
    code = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
    ok, output = call([venv_program(venv, "python"), "-c", code], environ)
    # The last line: a Python may print a warning first.
    return output.splitlines()[-1] if ok and output else None


def check_environment(venv, version):
    """Refuse an environment made with a Python that is too old; it is not ours to delete."""
    if tuple(int(part) for part in version.split()[1:]) < MIN_PYTHON:
        raise SetupError(
            f"{venv} is an environment of a Python that is too old ({version}).\n"
            "Remove it, or let LYSEP_VENV name another folder."
        )


def make_venv(venv, environ):
    """Make the environment, or mend one that is broken or half-made; return its Python."""
    stamp = venv / STAMP
    half_made = read_stamp(venv)[:1] == [INCOMPLETE]
    if not half_made:
        version = python_in(venv, environ) if (venv / "pyvenv.cfg").is_file() else None
        if version:
            check_environment(venv, version)
            return version
    # Clearing a folder deletes all that is in it, so it has to be an environment for certain.
    ours = half_made or (venv / "pyvenv.cfg").is_file() or venv == ROOT / ".venv"
    if venv.exists() and not (ours or (venv.is_dir() and not any(venv.iterdir()))):
        raise SetupError(
            f"{venv} exists and is not a virtual environment; it is left as it is.\n"
            "Let LYSEP_VENV name another folder, or an empty one."
        )
    state = "mending" if venv.exists() else "making"
    say(f"{state} the virtual environment {venv}")
    # Always without pip: a missing ensurepip (Debian packs it apart) then is no special case.
    ok, output = call([sys.executable, "-m", "venv", "--clear", "--without-pip", venv], environ)
    version = python_in(venv, environ) if ok else None
    if not version:
        raise SetupError(
            f"{output}\n\nThe virtual environment could not be made. Is the folder writable, is "
            "the disk full?\nIf the module venv is missing: on Debian and Ubuntu, "
            "'apt install python3-venv' brings it."
        )
    # Until the installation is through the environment counts as half-made.
    stamp.write_text(INCOMPLETE + "\n", encoding="utf-8")
    return version


def add_pip(venv, environ):
    """Give the environment its own pip."""
    python = venv_program(venv, "python")
    if call([python, "-c", "import pip"], environ)[0]:
        return
    ok, first = call([python, "-I", "-m", "ensurepip", "--upgrade", "--default-pip"], environ)
    if ok:
        return
    # No ensurepip: the pip of the Python that runs this script fetches one. Every pip knows
    # --target ("pip --python" came with 22.3 only, and Ubuntu 22.04 has 22.0), and a closed
    # system Python allows it, because nothing is installed into that Python.
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    ok, second = call([python, "-c", code], environ)
    if ok:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input"]
        ok, second = call([*pip, "--target", second, "pip"], environ)
    if not ok:
        raise SetupError(
            f"{first}\n{second}\n\nThis Python has neither ensurepip nor a pip that works. "
            "Install one of them\n(on Debian and Ubuntu: 'apt install python3-venv' or "
            "'apt install python3-pip'), check the network, and try again."
        )


def fingerprint(pyproject, version, root):
    """Return a text that changes whenever the installation has to be done again."""
    # The root is in it because an editable installation points to the checkout by its path.
    parts = [pyproject, version.encode(), os.fsencode(str(root))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read_stamp(venv):
    """Return the lines of the stamp: fingerprint, then the extras installed; or nothing."""
    try:
        return (venv / STAMP).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return []


def write_stamp(venv, mark, extra):
    """Note that an extra is installed; extras noted under another fingerprint are forgotten."""
    lines = read_stamp(venv)
    extras = set(lines[1:]) if lines[:1] == [mark] else set()
    text = "\n".join([mark, *sorted(extras | {extra})]) + "\n"
    (venv / STAMP).write_text(text, encoding="utf-8")


def is_installed(venv, mark, extra):
    """Tell whether the stamp says that this extra is installed and up to date."""
    lines = read_stamp(venv)
    return lines[:1] == [mark] and extra in lines[1:]


def install(venv, extra, environ):
    """Install the checkout, editable, with one extra."""
    say("installing lysep_fast and what it needs; the first time may take some minutes")
    pip = [venv_program(venv, "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    ok, output = call([*pip, "--disable-pip-version-check", "-e", f".[{extra}]"], environ)
    if not ok:
        raise SetupError(
            f"{output}\n\nThe installation failed; pip's own words are above.\n"
            "- No network, or a proxy in between? Mend that (HTTPS_PROXY, pip's configuration) "
            "and run the command again.\n"
            "- 'No matching distribution' with a working network: this Python ({}.{}) may be too "
            "new for a dependency;\n  remove {} and call the script with another Python.\n"
            "- No space left? The packages need about one gigabyte.".format(
                *sys.version_info[:2], venv
            )
        )


def set_up(venv, extra, environ):
    """Bring the environment to the state that the job needs; do nothing when it is there."""
    version = make_venv(venv, environ)
    mark = fingerprint((ROOT / "pyproject.toml").read_bytes(), version, ROOT)
    if is_installed(venv, mark, extra):
        return
    add_pip(venv, environ)
    install(venv, extra, environ)
    write_stamp(venv, mark, extra)


# --- the script --------------------------------------------------------------------------------


def say(text):
    """Print one line at once, so that it stands before what child processes print."""
    print("quickstart: " + text, flush=True)


def say_active_environment(venv):
    """Say that an active environment is left alone."""
    active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    if not active and sys.prefix != sys.base_prefix:
        active = sys.prefix
    if active and os.path.realpath(active) != os.path.realpath(str(venv)):
        say(f"the active environment {active} is left alone; {venv} is used")


def main(arguments):
    """Do the whole; return the exit code."""
    try:
        check_python()
        job, passed_on = parse_arguments(arguments)
        if job == "help":
            print(__doc__.strip())
            return 0
        environ = child_environ(os.environ)
        venv = venv_folder(os.environ)
        say_active_environment(venv)
        set_up(venv, EXTRAS[job], environ)
        command = job_command(job, venv, passed_on)
        say("running " + " ".join([Path(command[0]).name, *command[1:]]))
        code = subprocess.run(command, cwd=str(ROOT), env=environ).returncode
        # A child ended by signal n is reported as -n; shells call that 128 + n.
        return code if code >= 0 else 128 - code
    except (SetupError, OSError) as error:
        print(f"quickstart: {error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        print("\nquickstart: stopped; run the same command again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
