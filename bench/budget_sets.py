"""The data sets of bench_budgets.py: MNIST, what a few lines make of it, and generated tables.

Everything is drawn from fixed seeds, so that every run on every machine has the same data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import rotate

from lysep_fast.datasets import Mnist, load_mnist

__all__ = ["HALVES", "RECIPES", "BudgetSet", "Recipe", "Sources", "held_out", "load", "names"]

#: Settings of lysep_fast are chosen on the first half only; the second one is for reports.
HALVES = {
    "choose": (
        "mnist-10000",
        "inverted",
        "permuted",
        "noisy-labels",
        "table-5000",
        "teacher-5000",
        "digits",
    ),
    "report": (
        "mnist-60000",
        "noisy-background",
        "rotated",
        "contrast",
        "table-50000",
        "teacher-50000",
        "depth-10",
        "width-512",
    ),
}
SEED = 0
#: Samples of the generated tables to test on: the error of an accuracy is below .005.
TESTED = 10_000
#: Share of the training data that a setting is chosen by.
HELD_OUT = 0.2
LARGEST_ANGLE = 45.0
NOISE = 0.5
WRONG_LABELS = 0.2
FEATURES, CLASSES = 20, 7


@dataclass(frozen=True)
class BudgetSet:
    """What is trained on and what is tested on; inputs float32, classes int64.

    Attributes
    ----------
    name : str
        As on the command line.
    hidden : tuple of int
        Widths of the hidden layers.
    X, y, X_test, y_test : ndarray
        Samples.
    """

    name: str
    hidden: tuple[int, ...]
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the whole network."""
        return self.X.shape[1], *self.hidden, int(self.y.max()) + 1


class Sources:
    """Where data come from: the folder of MNIST, and one to keep what takes long to make."""

    def __init__(self, mnist: Path | None, cache: Path) -> None:
        self._folder, self.cache = mnist, cache

    @cached_property
    def mnist(self) -> Mnist:
        """The images, read when they are first asked for."""
        return load_mnist(self._folder)


def inverted(data: Mnist, _: Path) -> Mnist:
    """Make light dark."""
    return data._replace(X_train=1.0 - data.X_train, X_test=1.0 - data.X_test)


def permuted(data: Mnist, _: Path) -> Mnist:
    """Put the pixels in another order, the same for all images."""
    order = np.random.default_rng(SEED).permutation(data.X_train.shape[1])
    parts = (np.ascontiguousarray(X[:, order]) for X in (data.X_train, data.X_test))
    return data._replace(**dict(zip(("X_train", "X_test"), parts, strict=True)))


def noisy_labels(data: Mnist, _: Path) -> Mnist:
    """Give a share of the training labels another class; those to test on stay right."""
    random = np.random.default_rng(SEED)
    wrong = random.random(len(data.y_train)) < WRONG_LABELS
    classes = int(data.y_train.max()) + 1
    moved = (data.y_train + random.integers(1, classes, size=len(wrong))) % classes
    return data._replace(y_train=np.where(wrong, moved, data.y_train))


def noisy_background(data: Mnist, _: Path) -> Mnist:
    """Let uniform noise show wherever it is lighter than the image."""
    random = np.random.default_rng(SEED)

    def noisy(X: np.ndarray) -> np.ndarray:
        return np.maximum(X, NOISE * random.random(X.shape, dtype=np.float32))

    return data._replace(X_train=noisy(data.X_train), X_test=noisy(data.X_test))


def contrast(data: Mnist, _: Path) -> Mnist:
    """Take contrast from every image and add light, as much as the range of [0, 1] allows."""
    random = np.random.default_rng(SEED)

    def faint(X: np.ndarray) -> np.ndarray:
        factor = random.uniform(0.3, 1.0, size=(len(X), 1))
        offset = random.uniform(0.0, 1.0, size=(len(X), 1)) * (1.0 - factor)
        return (X * factor + offset).astype(np.float32)

    return data._replace(X_train=faint(data.X_train), X_test=faint(data.X_test))


def rotated(data: Mnist, cache: Path) -> Mnist:
    """Turn every image by its own angle; the pixels are kept in bytes for the next time."""
    path = cache / f"rotated_{len(data.X_train)}_{len(data.X_test)}.npz"
    if not path.exists():
        random = np.random.default_rng(SEED)
        pixels = {name: _turned(getattr(data, name), random) for name in ("X_train", "X_test")}
        part = path.with_name(f"{path.stem}.part.npz")  # whole or not at all
        np.savez(part, **pixels)
        part.replace(path)
    with np.load(path) as found:
        return data._replace(**{name: found[name] / np.float32(255.0) for name in found.files})


def _turned(X: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the images, each turned by a random angle, as bytes."""
    edge = int(np.sqrt(X.shape[1]))
    angles = random.uniform(-LARGEST_ANGLE, LARGEST_ANGLE, size=len(X))
    out = np.empty(X.shape, np.uint8)
    for i, (x, angle) in enumerate(zip(X, angles, strict=True)):
        turned = rotate(x.reshape(edge, edge), angle, reshape=False, order=1)
        out[i] = np.rint(255.0 * np.clip(turned, 0.0, 1.0)).ravel()
    return out


def table(rows: int) -> Mnist:
    """Return clusters at the corners of a hypercube, in part with a wrong class."""
    from sklearn.datasets import make_classification

    X, y = make_classification(
        rows + TESTED,
        FEATURES,
        n_informative=12,
        n_redundant=4,
        n_classes=CLASSES,
        flip_y=0.05,
        class_sep=1.0,
        random_state=SEED,
    )
    return _cut(X, y, rows)


def teacher(rows: int) -> Mnist:
    """Return the classes that a random network gives to normal inputs, about as often each."""
    random = np.random.default_rng(SEED)
    X = S = random.normal(size=(rows + TESTED, FEATURES))
    for _ in range(2):
        S = np.tanh(S @ random.normal(0.0, 1.5 / np.sqrt(S.shape[1]), size=(S.shape[1], 30)))
    U = S @ random.normal(size=(S.shape[1], CLASSES))
    return _cut(X, np.argmax((U - U.mean(axis=0)) / U.std(axis=0), axis=1), rows)


def digits() -> Mnist:
    """Return the small digits of scikit-learn, half of them to test on: there are few."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(y))
    return _cut(X[order] / 16.0, y[order], len(y) // 2)


def _cut(X: np.ndarray, y: np.ndarray, rows: int) -> Mnist:
    """Return the first rows to train on and the others to test on."""
    X, y = X.astype(np.float32), y.astype(np.int64)
    return Mnist(X[:rows], y[:rows], X[rows:], y[rows:])


class Recipe(NamedTuple):
    """Hidden layers, and how the data are made."""

    hidden: tuple[int, ...]
    make: Callable[[Sources], Mnist]


def _images(
    hidden: tuple[int, ...],
    change: Callable[[Mnist, Path], Mnist] | None = None,
    rows: int | None = None,
) -> Recipe:
    """Return a recipe on the first rows of MNIST."""

    def make(sources: Sources) -> Mnist:
        data = sources.mnist
        data = data._replace(X_train=data.X_train[:rows], y_train=data.y_train[:rows])
        return data if change is None else change(data, sources.cache)

    return Recipe(hidden, make)


RECIPES = {
    "mnist-10000": _images((100, 100), rows=10_000),
    "inverted": _images((256, 256), inverted),
    "permuted": _images((256, 256), permuted),
    "noisy-labels": _images((256, 256), noisy_labels),
    "table-5000": Recipe((100, 100), lambda _: table(5000)),
    "teacher-5000": Recipe((100, 100), lambda _: teacher(5000)),
    "digits": Recipe((100,), lambda _: digits()),
    "mnist-60000": _images((256, 256)),
    "noisy-background": _images((256, 256), noisy_background),
    "rotated": _images((256, 256), rotated),
    "contrast": _images((256, 256), contrast),
    "table-50000": Recipe((100, 100), lambda _: table(50_000)),
    "teacher-50000": Recipe((100, 100), lambda _: teacher(50_000)),
    "depth-10": _images((100,) * 9, rows=10_000),
    "width-512": _images((512, 512)),
}


def names(half: str = "both") -> list[str]:
    """Return the sets of a half, or of both."""
    return [name for own in HALVES if half in (own, "both") for name in HALVES[own]]


def load(name: str, sources: Sources) -> BudgetSet:
    """Return a data set by name."""
    if name not in RECIPES:
        raise ValueError(f"no data set is called {name!r}: choose from {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    return BudgetSet(name, recipe.hidden, *recipe.make(sources))


def held_out(data: BudgetSet) -> BudgetSet:
    """Return the training data alone, a random part of them to test on: for choosing settings."""
    order = np.random.default_rng(SEED).permutation(len(data.y))
    kept, tested = np.split(order, [len(order) - round(HELD_OUT * len(order))])
    return replace(
        data,
        X=data.X[kept],
        y=data.y[kept],
        X_test=data.X[tested],
        y_test=data.y[tested],
    )
