"""Every stage of a check as: key, artefact, and how to make it when the store does not have it.

A stage reads finished artefacts and writes one. Killed at any point, the same command resumes after the last finished stage.
Models are loaded only when a stage has to be made, so a repeated check reads JSON and never imports torch.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, TypeAdapter

from gate.activations.corpus import answer_prompts, documents_of, pair_answers, prompts_of
from gate.activations.types import Answered, Coverage, Document
from gate.behaviours.drift import adjust, examples, measure_drift
from gate.behaviours.scorers import build_scorer
from gate.behaviours.types import Drift, Example, Match, Measured
from gate.crosscoder.types import DFCConfig, Quality
from gate.errors import ScorerError, StoreError
from gate.features.types import Feature
from gate.policy.types import Behaviour, Policy, Prompt
from gate.probes.types import Probe
from gate.profiles import Profile
from gate.progress import Progress, Tick
from gate.schema import JSON, NotRun, Record, Side
from gate.store import Key, Store, stage_key

if TYPE_CHECKING:
    from gate.crosscoder.types import DFC
    from gate.features.firing import Firing
    from gate.features.rank import Corpus, Pair
    from gate.models.engine import Engine
    from gate.models.resolve import ResolvedModel

HELD_OUT = 5  # every fifth prompt's documents measure the crosscoder's quality and train nothing
SMALL_WIDTH = 512

T = TypeVar("T")

_PROMPTS = TypeAdapter(tuple[Prompt, ...])
_QUALITY = TypeAdapter(Quality)
_PROBE: TypeAdapter[Probe | NotRun] = TypeAdapter(Probe | NotRun)
_ANSWERS = TypeAdapter(tuple[str, ...])
_MATCHES = TypeAdapter(tuple[Match, ...])


@dataclass(slots=True)
class Context:
    """One check: its settings, the store, and the models once they are loaded."""

    baseline: ResolvedModel
    incoming: ResolvedModel
    layers: tuple[int, int]
    policy: Policy
    profile: Profile
    seed: int
    engine: str
    device: str
    store: Store
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    _engines: dict[Side, Engine] = field(default_factory=dict)
    _fired: tuple[Corpus, Firing, DFC] | None = None

    def model(self, side: Side) -> ResolvedModel:
        """The resolved model of one side."""
        return self.baseline if side == "baseline" else self.incoming

    def load(self, side: Side) -> Engine:
        """The engine of one side, loaded once and proven by its canary."""
        if side not in self._engines:
            from gate.models.canary import run_canary
            from gate.models.transformers_engine import TransformersEngine

            use_one_thread_if_small(max(self.baseline.ref.width, self.incoming.ref.width))
            self.progress.note(f"loading {side} {self.model(side).ref.name}")
            engine = TransformersEngine.load(self.model(side), device=self.device)
            run_canary(engine, self.layers[0 if side == "baseline" else 1])
            self._engines[side] = engine
        return self._engines[side]

    def pair(self) -> Pair:
        """Both engines with their sites."""
        from gate.features.rank import Pair

        return Pair(self.load("baseline"), self.load("incoming"), *self.layers)

    def fired(self, texts: Texts, trained: Trained) -> tuple[Corpus, Firing, DFC]:
        """The corpus encoded by a trained DFC, once per check."""
        if self._fired is None:
            from gate.crosscoder.files import load_dfc
            from gate.features.firing import firing_of

            corpus, dfc = load_corpus(texts), load_dfc(trained.folder)
            self._fired = (corpus, firing_of(dfc, corpus.paired, corpus.documents), dfc)
        return self._fired

    def key(self, stage: str, version: int, settings: Mapping[str, JSON] | BaseModel, inputs: Sequence[str]) -> Key:
        """Store key of one stage."""
        from gate.models.device import device_class

        return stage_key(stage, version, settings, inputs, device=f"{self.engine}/{device_class(self.device)}")

    def artefact(self, key: Key, make: Callable[[Path], None]) -> Path:
        """The stage's folder, made if the store does not have it."""
        started = time.monotonic()
        found = self.store.find(key)
        if found is None:
            with self.store.create(key) as folder:
                make(folder)
            found = self.store.folder(key)
        self.seconds[key.stage] = self.seconds.get(key.stage, 0.0) + time.monotonic() - started
        return found


def use_one_thread_if_small(width: int) -> None:
    """Small matrices gain nothing from a second thread, and where other processes are busy its waiting costs a factor of five.
    One thread also makes the figures independent of the machine's number of cores.
    """
    import torch

    if width <= SMALL_WIDTH:
        torch.set_num_threads(1)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(adapter: TypeAdapter[T], path: Path) -> T:
    try:
        return adapter.validate_json(path.read_bytes(), strict=True)
    except ValueError as error:
        raise StoreError(f"{path} is not what this version writes", f"delete {path.parent} and run again") from error


def _write(adapter: TypeAdapter[T], path: Path, value: T) -> None:
    path.write_bytes(adapter.dump_json(value))


# 2. activations ------------------------------------------------------------------------------------------------------------


def answers(context: Context, side: Side) -> tuple[tuple[str, ...], Key]:
    """One model's own greedy answers to every prompt. They depend on nothing of the other model, so a baseline's are reused."""
    prompts = [prompt for prompt, _, _ in prompts_of(context.policy)]
    limit = context.policy.generation.max_new_tokens
    settings: dict[str, JSON] = {"prompts": _digest(_PROMPTS.dump_json(tuple(prompts)).decode()), "max_new_tokens": limit}
    key = context.key("answers", 1, settings, [context.model(side).ref.digest])

    def make(folder: Path) -> None:
        engine = context.load(side)
        with context.progress.stage(f"answers of the {side} model", len(prompts)) as tick:
            _write(_ANSWERS, folder / "answers.json", tuple(answer_prompts(engine, prompts, limit, tick)))

    return _read(_ANSWERS, context.artefact(key, make) / "answers.json"), key


@dataclass(frozen=True, slots=True)
class Texts:
    """Prompts with both answers, the documents made of them, and how well they align."""

    answered: tuple[Answered, ...]
    documents: tuple[Document, ...]
    coverage: Coverage
    folder: Path
    key: Key


def activations(context: Context) -> Texts:
    """Aligned residual pairs with surprise, in shards."""
    old, old_key = answers(context, "baseline")
    new, new_key = answers(context, "incoming")
    answered = pair_answers(context.policy, old, new)
    documents = documents_of(context.policy, answered)
    settings: dict[str, JSON] = {"layers": [*context.layers], "texts": _digest(json.dumps(context.policy.corpus.texts))}
    digests = [context.baseline.ref.digest, context.incoming.ref.digest]
    key = context.key("activations", 1, settings, [*digests, old_key.digest, new_key.digest])

    def make(folder: Path) -> None:
        from gate.activations.harvest import harvest
        from gate.activations.shards import save_paired

        pair = context.pair()
        with context.progress.stage("activations of both models", 2 * len(documents)) as tick:
            paired, coverage = harvest(pair.baseline, pair.incoming, context.layers, documents, answered, tick)
        save_paired(folder, paired, coverage)

    folder = context.artefact(key, make)
    from gate.activations.shards import load_coverage

    return Texts(answered, documents, load_coverage(folder), folder, key)


# 3. crosscoder -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained DFC on disk."""

    config: DFCConfig
    quality: Quality
    folder: Path
    key: Key


def crosscoders(context: Context, texts: Texts, seeds: Sequence[int]) -> list[Trained]:
    """One DFC per seed, trained side by side on four fifths of the prompts and measured on the rest."""
    widths = (context.baseline.ref.width, context.incoming.ref.width)
    configs = [context.profile.dfc(widths, seed) for seed in seeds]
    keys = [context.key("crosscoder", 1, config, [texts.key.digest]) for config in configs]
    missing = [index for index, key in enumerate(keys) if context.store.find(key) is None]
    if missing:
        steps = sum(configs[index].steps for index in missing)
        with context.progress.stage(f"crosscoder, {len(missing)} seeds", steps) as tick:
            _train_together(context, texts, [(configs[index], keys[index]) for index in missing], tick)
    trained = []
    for config, key in zip(configs, keys, strict=True):
        folder = context.store.folder(key)
        trained.append(Trained(config, _read(_QUALITY, folder / "quality.json"), folder, key))
    return trained


class _StoppedError(Exception):
    """Another thread failed, or the user pressed Ctrl-C."""


def _train_together(context: Context, texts: Texts, wanted: Sequence[tuple[DFCConfig, Key]], tick: Tick) -> None:
    """One thread per seed: most of a step's time is spent outside the interpreter. A failure or Ctrl-C stops them all."""
    stop = threading.Event()

    def counted(done: int) -> None:
        if stop.is_set():
            raise _StoppedError
        tick(done)

    with ThreadPoolExecutor(len(wanted)) as pool:
        jobs = [pool.submit(_train, context, texts, config, key, counted) for config, key in wanted]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            stop.set()
            raise


def _train(context: Context, texts: Texts, config: DFCConfig, key: Key, tick: Tick) -> None:
    def make(folder: Path) -> None:
        import torch

        from gate.activations.shards import load_paired
        from gate.crosscoder.files import save_dfc
        from gate.crosscoder.quality import measure_quality
        from gate.crosscoder.train import train_dfc

        paired = load_paired(texts.folder)
        prompt_D = torch.tensor([d.answered if d.answered >= 0 else i for i, d in enumerate(texts.documents)])
        held_out_N = prompt_D[paired.document] % HELD_OUT == 0
        dfc = train_dfc(paired.baseline, paired.incoming, paired.surprise, config, ~held_out_N, tick)
        quality = measure_quality(dfc, paired.baseline, paired.incoming, held_out_N, config.steps * config.batch)
        save_dfc(dfc, folder)
        _write(_QUALITY, folder / "quality.json", quality)

    context.artefact(key, make)


# 4. features ---------------------------------------------------------------------------------------------------------------


class Found(Record):
    """Candidates with all their evidence, real changes first; for each real change those that fire together with it."""

    features: tuple[Feature, ...]
    families: dict[str, tuple[str, ...]]


_FOUND = TypeAdapter(Found)


def features(context: Context, texts: Texts, first: Trained, second: Trained) -> tuple[Found, Key]:
    """What changed inside."""
    settings: dict[str, JSON] = {
        "novelty": context.policy.novelty.model_dump(),
        "level": context.policy.confidence,
        "seed": context.seed,
    }
    inputs = [texts.key.digest, first.key.digest, second.key.digest]
    key = context.key("features", 2, settings, inputs)

    def make(folder: Path) -> None:
        from gate.crosscoder.files import load_dfc
        from gate.features.families import families_of
        from gate.features.firing import firing_of
        from gate.features.rank import CANDIDATES, find_features

        corpus, firing, dfc = context.fired(texts, first)
        twin = firing_of(load_dfc(second.folder), corpus.paired, corpus.documents)
        with context.progress.stage("evidence for features", 2 * CANDIDATES) as tick:
            found = find_features(
                context.pair(),
                corpus,
                dfc,
                firing,
                twin,
                context.policy.novelty,
                seed=context.seed,
                level=context.policy.confidence,
                tick=tick,
            )
        _write(_FOUND, folder / "features.json", Found(features=found, families=families_of(found, firing)))

    return _read(_FOUND, context.artefact(key, make) / "features.json"), key


def load_corpus(texts: Texts) -> Corpus:
    """The activations in memory, with their texts."""
    from gate.activations.shards import load_paired
    from gate.features.rank import Corpus

    return Corpus(load_paired(texts.folder), texts.documents, texts.answered)


# 5. behaviours -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scored:
    """One behaviour on both models' own answers."""

    drift: Drift
    examples: tuple[Example, ...]


def drifts(context: Context, answered: Sequence[Answered]) -> dict[str, Scored | NotRun]:
    """Drift of every behaviour, Holm-adjusted. A scorer that fails makes its own behaviour NotRun and no other."""
    results: dict[str, Scored | NotRun] = {}
    for behaviour in context.policy.behaviours:
        mine = [item for item in answered if item.behaviour == behaviour.id and item.group == "elicit"]
        try:
            score = build_scorer(behaviour.scorer)
            old, new = [score(item.baseline) for item in mine], [score(item.incoming) for item in mine]
        except ScorerError as error:
            results[behaviour.id] = NotRun(not_run=error.one_line())
            continue
        drift = measure_drift(behaviour, old, new, context.policy.confidence)
        results[behaviour.id] = Scored(drift, examples(mine, old, new))
    return _adjusted(results)


def _adjusted(results: dict[str, Scored | NotRun]) -> dict[str, Scored | NotRun]:
    scored = {name: item for name, item in results.items() if isinstance(item, Scored)}
    adjusted = adjust([item.drift for item in scored.values()])
    fixed = {name: Scored(drift, scored[name].examples) for name, drift in zip(scored, adjusted, strict=True)}
    return {name: fixed.get(name, item) for name, item in results.items()}


def matches(
    context: Context, texts: Texts, first: Trained, found: tuple[Feature, ...], features_key: Key, behaviour: Behaviour
) -> tuple[Match, ...]:
    """Features that go with one behaviour."""
    settings: dict[str, JSON] = {
        "behaviour": behaviour.id,
        "scorer": behaviour.scorer.model_dump(mode="json"),
        "level": context.policy.confidence,
        "seed": context.seed,
    }
    key = context.key("matches", 1, settings, [features_key.digest])

    def make(folder: Path) -> None:
        from gate.behaviours.match import match_features

        _, firing, _ = context.fired(texts, first)
        matched = match_features(
            behaviour.id,
            build_scorer(behaviour.scorer),
            found,
            firing,
            texts.documents,
            seed=context.seed,
            level=context.policy.confidence,
        )
        _write(_MATCHES, folder / "matches.json", matched)

    return _read(_MATCHES, context.artefact(key, make) / "matches.json")


# 6. probes -----------------------------------------------------------------------------------------------------------------


def probe(
    context: Context,
    texts: Texts,
    first: Trained,
    found: tuple[Feature, ...],
    features_key: Key,
    behaviour: Behaviour,
    measured: Measured,
) -> Probe | NotRun:
    """Steering and ablation of one behaviour's features."""
    settings: dict[str, JSON] = {
        "behaviour": behaviour.model_dump(mode="json"),
        "measured": measured.model_dump(mode="json"),
        "probe": context.profile.probe.model_dump(),
        "max_new_tokens": context.policy.generation.max_new_tokens,
        "level": context.policy.confidence,
        "seed": context.seed,
    }
    key = context.key("probes", 2, settings, [features_key.digest])

    def make(folder: Path) -> None:
        from gate.probes.bench import Subject
        from gate.probes.run import run_probe

        corpus, firing, dfc = context.fired(texts, first)
        subject = Subject(
            behaviour=behaviour,
            drift=measured.drift,
            matches=measured.matches,
            features=found,
            score=build_scorer(behaviour.scorer),
            max_new_tokens=context.policy.generation.max_new_tokens,
        )
        config = context.profile.probe
        result: Probe | NotRun
        with context.progress.stage(f"probes of {behaviour.id}", config.jobs) as tick:
            try:
                result = run_probe(
                    subject,
                    context.pair(),
                    corpus,
                    dfc,
                    firing,
                    config,
                    seed=context.seed,
                    level=context.policy.confidence,
                    tick=tick,
                )
            except ScorerError as error:
                result = NotRun(not_run=error.one_line())
        _write(_PROBE, folder / "probe.json", result)

    return _read(_PROBE, context.artefact(key, make) / "probe.json")
