"""The report of all experiments in Markdown, from their results files alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ._experiment import Experiment
from ._html import slug
from ._report import SHORT, listed
from ._tables import markdown
from ._time_left import duration

#: What the pictures show, by file name; others go by their names.
CAPTIONS = {
    "test_labels.png": "The test points and their classes (Figure 5.1)",
    "loss_accuracy.png": "Loss and accuracy over sweeps and iterations (Figure 5.2)",
    "loss_accuracy_time.png": "Loss and accuracy over seconds",
    "predictions.png": "Predicted classes, first seed (Figure 5.3)",
    "loss.png": "Training loss over passes through the images",
    "loss_time.png": "Training loss over seconds",
    "accuracy.png": "Training accuracy over passes through the images",
    "accuracy_time.png": "Training accuracy over seconds",
    "mistakes.png": "Test digits that the best network gets wrong, first seed",
    "error_time.png": "Relative L2 error over seconds",
    "loss_iterations.png": "Loss J over iterations",
    "solutions.png": "Differences from the exact solutions, first seed",
}
TITLE = "The papers' tables and figures"


class AllReport:
    """Puts the reports of the experiments together.

    Parameters
    ----------
    experiments : sequence of Experiment
        All finished.
    missing : sequence of str
        Names of those whose data are not there.
    quick : bool
        Whether these are the quick settings.
    """

    def __init__(
        self, experiments: Sequence[Experiment], missing: Sequence[str], quick: bool
    ) -> None:
        self.experiments, self.missing, self.quick = experiments, missing, quick

    def markdown(self) -> str:
        """Return the whole text."""
        parts = ["## Where we fall short", *self._shortcomings()]
        for experiment in self.experiments:
            parts += _section(experiment)
        parts += ["## Settings that we chose", *self._settings()]
        parts += ["## Environment", *self._environment()]
        start = [f"# {TITLE}", self._introduction(), self._overview()]
        parts = [*start, "## Contents", _contents(parts), *parts]
        return "\n\n".join(parts) + "\n"

    def _introduction(self) -> str:
        quick = (
            " **Quick settings**: fewer rows, seeds and sweeps than the papers' tables need; "
            "figures that fall short here may not do so in the full runs."
        )
        return (
            "Our figures beside the papers', computed from the stored runs (`results.json` in the "
            f"folder of every experiment). {SHORT} marks a figure that falls short of the "
            f"paper's or the reference.{quick if self.quick else ''}"
        )

    def _overview(self) -> str:
        header = ["experiment", "runs", "time of the runs", "not done"]
        rows = []
        for experiment in self.experiments:
            keys, tasks = experiment.keys, experiment.job.tasks
            time = sum(map(experiment.store.elapsed, keys))
            left = len(tasks) - len(keys)
            cells = [_title(experiment), f"{len(keys)} of {len(tasks)}", duration(time)]
            rows.append([*cells, f"{left} runs need torch" if left else ""])
        rows += [[name, "0", "", "its data files are not there"] for name in self.missing]
        return markdown(header, rows)

    def _shortcomings(self) -> list[str]:
        parts = []
        for experiment in self.experiments:
            found = experiment.report.shortcomings()
            parts += [f"**{_title(experiment)}**", _bullets(found or ["Nowhere."])]
        parts += [
            f"**{name}**: not done, because its data files were not found. Run `lysep-fast "
            f"reproduce {name}` to see where they are looked for; once they are there, the same "
            "command adds what is missing here."
            for name in self.missing
        ]
        return parts

    def _settings(self) -> list[str]:
        parts = []
        for experiment in self.experiments:
            settings = dict(experiment.job.settings)
            note = settings.pop("note", None)
            parts.append(f"### {_short_title(experiment)}: settings")
            parts += [str(note)] if note else []
            parts += _settings_parts(settings)
        return parts

    def _environment(self) -> list[str]:
        """Return the environments, each with the number of runs that were done in it."""
        found: list[tuple[dict[str, Any], dict[str, int]]] = []
        for experiment in self.experiments:
            for environment, count in experiment.store.environments(experiment.keys):
                for known, counts in found:
                    if known == environment:
                        counts[experiment.job.name] = count
                        break
                else:
                    found.append((environment, {experiment.job.name: count}))
        parts = []
        for environment, counts in found:
            runs = [f"{count} of {name}" for name, count in counts.items()]
            values = {**environment, **environment["versions"]}
            del values["versions"]
            rows = [["runs", listed(runs)], *([_words(k), str(v)] for k, v in values.items())]
            parts.append(markdown(["what", "value"], rows))
        return parts


def _contents(parts: Sequence[str]) -> str:
    """Return links to the headings of the first two levels below the title."""
    headings = re.findall(r"^##(#?) (.*)$", "\n".join(parts), flags=re.MULTILINE)
    return "\n".join(f"{'    ' * len(deep)}- [{text}](#{slug(text)})" for deep, text in headings)


def _section(experiment: Experiment) -> list[str]:
    """Return an experiment's own report one level deeper, and its pictures."""
    name, title = experiment.job.name, _short_title(experiment)
    text = re.sub(r"^#", "##", experiment.text.strip(), flags=re.MULTILINE)
    # In the table of contents every heading has to say what it belongs to.
    text = re.sub(r"^### ", f"### {title}: ", text, flags=re.MULTILINE)
    pictures = [path for path in experiment.files if path.suffix == ".png"]
    parts = [text, f"### {title}: figures"]
    for path in pictures:
        caption = CAPTIONS.get(path.name, _words(path.stem).capitalize())
        parts.append(f"{caption}:\n\n![{caption}]({name}/{path.name})")
    data = [path.name for path in experiment.files if path not in pictures]
    return [*parts, f"Files in the folder `{name}`: {listed([f'`{file}`' for file in data])}."]


def _title(experiment: Experiment) -> str:
    return experiment.text.partition("\n")[0].lstrip("# ")


def _short_title(experiment: Experiment) -> str:
    return _title(experiment).partition(":")[0]


def _settings_parts(settings: dict[str, Any]) -> list[str]:
    """Return settings as a list; those that are alike for several rows as a table."""
    lines, tables = [], []
    for name, value in settings.items():
        inner = list(value.values()) if isinstance(value, dict) else []
        if inner and all(isinstance(row, dict) and row.keys() == inner[0].keys() for row in inner):
            header = [_words(name).removesuffix("s"), *(_words(column) for column in inner[0])]
            rows = [[str(k), *map(_text, row.values())] for k, row in value.items()]
            tables.append(markdown(header, rows))
        else:
            lines.append(f"{_words(name)}: {_text(value)}")
    return [*tables, _bullets(lines)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{_words(str(name))} {_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
