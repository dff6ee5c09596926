"""Flow: the smallest or fastest variant whose quality holds, tried from cheap to careful.

Candidates are judged by the calibration set, through the same Triton that would serve them; the
evaluation set is never looked at, so the gate that follows keeps the error rates it states.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from prefect import flow

from infra.environments.locks import SERVING
from pipelines.assembly import Platform, require_environment
from pipelines.conversion.child import convert as convert_in_child
from pipelines.conversion.footprint import graphs_in
from pipelines.conversion.kinds import kind_of
from pipelines.conversion.ladder import ladders
from pipelines.conversion.pareto import plot
from pipelines.conversion.search import Budget
from pipelines.conversion.search import search as climb
from pipelines.conversion.search_report import COLUMNS, Measured, Objective, Refused
from pipelines.conversion.sensitivity import rank
from pipelines.convert import (
    calibration_of,
    chosen_artifact,
    convert_variants,
    converter_of,
    limits_of,
    recipe_key_of,
)
from pipelines.data import load_dataset
from pipelines.model_config import load_model_config
from pipelines.scoring import score_folder
from pipelines.stages import Stages, announce
from registry.errors import EngineError, SluiceError, UserError
from registry.files import canonical_json, write_atomic
from registry.workspace import Workspace
from validation.answers import Answer
from validation.estimate import Method, estimate_difference
from validation.scoring import Mismatch, score_answers
from validation.slices import slices_of
from validation.thresholds import FIRST

if TYPE_CHECKING:
    from pipelines.conversion.child import Calibration, ConvertedVariant
    from pipelines.conversion.kind import Recipe
    from pipelines.conversion.search_report import SearchReport
    from pipelines.model_config import ModelConfig
    from validation.dataset import Dataset
    from validation.measures import Measure
    from validation.scoring import Scores

TIMED_REQUESTS = 20
"""Requests, one at a time, whose median is a candidate's latency."""


@flow(name="search", flow_run_name="search-{model}")
def search(
    workspace: str,
    model: str,
    objective: Objective = "size",
    budget_s: float = 600.0,
    artifact: str = "",
    actor: str = "",
    most: int | None = None,
) -> dict[str, Any]:
    """Search within `budget_s` seconds and `most` recipes, keep the chosen variant, and say why.

    Returns the report, its table, the folder with the report and the plot, and the chosen
    variant's record. Raises UserError when the policy names no calibration set or no margin.
    """
    stages = Stages()
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    config = _searchable(platform, model)
    margin = next(iter(config.gate.margins.parent.values()))
    digest = chosen_artifact(platform.catalog(model), model, artifact)
    with stages.stage("search", "Searching"), platform.scratch("search") as work:
        platform.store.checkout(digest, work / "source")
        bench = Bench(platform, config, model, digest, work)
        kind = kind_of(config.kind)
        report = climb(
            kind.recipes[0],
            ladders(kind, calibrated=True),
            bench,
            margin=margin,
            objective=objective,
            budget=Budget(budget_s, most),
            clock=time.monotonic,
        )
    folder = _keep(platform, model, report, margin)
    with stages.stage("keep", f"Keeping {report.chosen.variant}"):
        record = _converted(platform, config, model, digest, report.chosen)
    found = {"chosen": report.chosen.variant, "why": report.why}
    tried = {"objective": objective, "tried": len(report.candidates)}
    platform.append(model, "search-ended", {"artifact": digest, **found, **tried})
    return {
        "model": model,
        **found,
        "report": report.to_json(),
        "columns": list(COLUMNS),
        "rows": [list(row) for row in report.rows()],
        "evidence": str(folder),
        "variant": record,
        "stages": stages.seconds,
    }


def _searchable(platform: Platform, model: str) -> ModelConfig:
    """The model's policy. Raises what stands in a search's way, before anything is done."""
    require_environment(SERVING)
    platform.permit(model, "variant-converted")
    config = load_model_config(platform.workspace, model)
    require_environment(converter_of(config))
    if not config.convert.calibration or not config.gate.margins.parent:
        raise UserError(
            "a search needs [convert] calibration and [gate.margins] parent",
            where=str(platform.workspace.model_file(model)),
            remedy="name a set that no gate judges by, and the margin that must hold",
        )
    return config


@dataclass
class _Parent:
    measure: Measure
    folder: Path


class Bench:
    """Makes candidates in the converter and measures them through Triton; see `Workshop`."""

    def __init__(
        self, platform: Platform, config: ModelConfig, model: str, artifact: str, work: Path
    ) -> None:
        self._platform, self._config, self._model = platform, config, model
        self._artifact, self._work = artifact, work
        self._feeds = work / "feeds.npz"
        self._calibration: Calibration | None = calibration_of(
            platform, config, work / "questions.npz"
        )
        folder = platform.workspace.root / config.convert.calibration
        self._dataset: Dataset = load_dataset(config, folder, config.convert.calibration_sha256)
        self._parent: _Parent | None = None
        self._count = 0

    def make(self, recipe: Recipe, seconds: float) -> Measured | Refused:
        """See Workshop."""
        self._count += 1
        announce(f"Trying {self._count}: {recipe.variant}")
        place = self._work / f"candidate-{self._count}"
        place.mkdir()
        try:
            made = self._convert(recipe, place, seconds)
            made.folder.rename(place / "variant")
            return self._measure(place)
        except SluiceError as error:
            return Refused(error.what)

    def rank(self, recipe: Recipe, seconds: float) -> tuple[str, ...]:
        """See Workshop."""
        if self._parent is None or not self._feeds.exists():
            return ()
        announce(f"Ranking the layers of {recipe.variant}")
        graphs = {name: self._parent.folder / f"{name}.onnx" for name in graphs_in(self._feeds)}
        python = converter_of(self._config).python
        try:
            ranked = rank(python, recipe, graphs, self._feeds, seconds=min(seconds / 2, 120.0))
        except EngineError:
            return ()
        return tuple(one.layer for one in ranked)

    def _convert(self, recipe: Recipe, place: Path, seconds: float) -> ConvertedVariant:
        limits = limits_of(self._config)
        environment = converter_of(self._config)
        (made,) = convert_in_child(
            self._config.kind,
            self._work / "source",
            [recipe],
            place / "converted",
            parent_digest=self._artifact,
            python=environment.python,
            environment_hash=environment.lock_hash,
            calibration=self._calibration,
            limits=type(limits)(limits.memory_bytes, max(1.0, min(limits.seconds, seconds))),
            feeds=self._feeds,
        )
        return made

    def _measure(self, place: Path) -> Measured | Refused:
        result = score_folder(place, self._model, self._config, self._dataset, TIMED_REQUESTS)
        answers = [Answer(**answer) for answer in result["answers"]]
        scores = score_answers(self._dataset, answers, self._config.gate.normaliser)
        if isinstance(scores, Mismatch) or scores.failed.any():
            return Refused("it did not answer every question")
        if self._parent is None:
            self._parent = _Parent(self._measured(scores), place / "variant")
        loss, low, high = self._loss(self._measured(scores))
        files = (path for path in (place / "variant").rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
        return Measured(loss, low, high, size, float(np.median(result["alone_ms"])))

    def _measured(self, scores: Scores) -> Measure:
        """What the policy's first margin over the parent is about."""
        name = next(iter(self._config.gate.margins.parent))
        if name != FIRST and name not in scores.measures:
            raise UserError(f"this set has {', '.join(scores.measures)}, no {name}")
        return scores.compared if name == FIRST else scores.measures[name]

    def _loss(self, measure: Measure) -> tuple[float, float, float]:
        """By how much the metric is worse than the parent's, with the gate's interval."""
        assert self._parent is not None  # noqa: S101 - the parent is measured first
        if measure is self._parent.measure:
            return 0.0, 0.0, 0.0
        policy = self._config.gate
        bare = policy.model_copy(update={"slices": (), "buckets": {}})
        (whole,) = slices_of(bare, self._dataset)
        method = Method(policy.confidence, policy.resamples, policy.seed, policy.method)
        found = estimate_difference(measure, self._parent.measure, whole, method)
        return found.value, found.low, found.high


def _keep(platform: Platform, model: str, report: SearchReport, margin: float) -> Path:
    folder = platform.workspace.reports / f"search-{model}-{int(time.time())}"
    write_atomic(folder / "search.json", canonical_json(report.to_json()))
    plot(report.points(), folder / "front.svg", margin=margin, title=f"{model}: {report.why}")
    return folder


def _converted(
    platform: Platform, config: ModelConfig, model: str, artifact: str, recipe: Recipe
) -> dict[str, Any]:
    """The chosen variant as any conversion leaves it: in the store, journal and MLflow."""
    key = recipe_key_of(config, artifact, recipe)
    found = platform.catalog(model).find_recipe(key)
    if found is not None and platform.store.has(found.digest):
        return dict(found.body)
    root = str(platform.workspace.root)
    (record,) = convert_variants(root, model, artifact, {key: recipe.to_json()})
    platform.append(model, "variant-converted", record)
    run = platform.catalog(model).artifacts[artifact].run_id
    platform.tracking.log_record(run, record, f"variants/{record['variant']}.json")
    return record
