"""What a policy file says: the behaviours that are watched, and how strictly."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gate.schema import Record

Direction = Literal["increase", "decrease", "either"]
Severity = Literal["low", "medium", "high", "critical"]
Action = Literal["fail", "warn", "note"]
Role = Literal["system", "user", "assistant"]

Text = Annotated[str, Field(min_length=1)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]


class Message(Record):
    """One turn of a conversation."""

    role: Role
    content: Text


class Prompt(Record):
    """A conversation that ends with a user turn. In YAML a plain string is one user turn."""

    messages: tuple[Message, ...]

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: object) -> object:
        if isinstance(value, str):
            return {"messages": ({"role": "user", "content": value},)}
        # a validator in "before" mode turns JSON into Python values, for which strict mode wants a tuple
        if isinstance(value, dict) and isinstance(value.get("messages"), list):
            return {**value, "messages": tuple(value["messages"])}
        return value

    @field_validator("messages")
    @classmethod
    def _ends_with_user(cls, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        if not messages or messages[-1].role != "user":
            raise ValueError("a prompt must end with a user message")
        return messages

    @property
    def text(self) -> str:
        """The last user turn, for display."""
        return self.messages[-1].content


class LexicalScorer(Record):
    """An answer exhibits the behaviour iff any `any_of` pattern is found in it and no `none_of` pattern is."""

    kind: Literal["lexical"]
    any_of: Annotated[tuple[Text, ...], Field(min_length=1)]
    none_of: tuple[Text, ...] = ()


class LengthScorer(Record):
    """An answer exhibits the behaviour iff it has at least `min_words` words (and at most `max_words`, if given)."""

    kind: Literal["length"]
    min_words: Annotated[int, Field(ge=0)] = 0
    max_words: Annotated[int, Field(ge=1)] | None = None


Scorer = Annotated[LexicalScorer | LengthScorer, Field(discriminator="kind")]


class Actions(Record):
    """The finding that each kind of evidence leads to. The defaults are DESIGN.md's table."""

    drift: Action = "fail"
    latent_switch: Action = "warn"  # matched feature with a confirmed effect, but no drift on these prompts
    unconfirmed_match: Action = "note"


class Behaviour(Record):
    """One watched behaviour. Rates are shares of answers that exhibit it."""

    id: Slug
    title: Text
    category: Slug = "behaviour"
    severity: Severity = "high"
    description: str = ""
    regression: Direction
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1
    scorer: Scorer
    elicit: Annotated[tuple[Prompt, ...], Field(min_length=1)]
    control: tuple[Prompt, ...] = ()
    on: Actions = Actions()


class Corpus(Record):
    """Text that belongs to no behaviour: where unknown unknowns can show."""

    prompts: tuple[Prompt, ...] = ()
    texts: tuple[Text, ...] = ()


class Generation(Record):
    """How both models answer: greedy decoding up to `max_new_tokens`."""

    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 64


class Site(Record):
    """Where the residual stream is read: after block `layer`, or at `depth` (a share of the blocks) of each model."""

    depth: Annotated[float, Field(gt=0, lt=1)] = 0.5
    baseline_layer: Annotated[int, Field(ge=0)] | None = None
    incoming_layer: Annotated[int, Field(ge=0)] | None = None


class Novelty(Record):
    """When an unwatched feature is worth a human's time.

    `min_surprise_lift`: lower bound, in nats, of the feature's surprise lift; `min_effect`: of the KL of the next token when
    it is removed. `action`: the finding it leads to.
    """

    action: Action = "warn"
    min_surprise_lift: Annotated[float, Field(ge=0)] = 2.0
    min_effect: Annotated[float, Field(ge=0)] = 0.01
    min_documents: Annotated[int, Field(ge=1)] = 3
    max_listed: Annotated[int, Field(ge=1, le=200)] = 12


class Floors(Record):
    """Below these there is no verdict (inconclusive).

    `max_flip_rate`: where `gate calibrate` measured more outcomes that rounding alone flips, `check` refuses the policy.
    """

    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.3  # aligned share of the shorter token sequence
    max_fvu: Annotated[float, Field(gt=0, le=1)] = 0.4  # fraction of variance unexplained, either side
    min_prompts: Annotated[int, Field(ge=1)] = 8  # eliciting prompts per behaviour
    max_flip_rate: Annotated[float, Field(ge=0, le=1)] = 0.05  # of the eliciting prompts, baseline against its rounded copies


class Policy(Record):
    """A whole policy file."""

    version: Literal[1]
    name: Slug
    description: str = ""
    generation: Generation = Generation()
    site: Site = Site()
    corpus: Corpus = Corpus()
    novelty: Novelty = Novelty()
    floors: Floors = Floors()
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    behaviours: Annotated[tuple[Behaviour, ...], Field(min_length=1)]

    @field_validator("behaviours")
    @classmethod
    def _unique_ids(cls, behaviours: tuple[Behaviour, ...]) -> tuple[Behaviour, ...]:
        seen: set[str] = set()
        for behaviour in behaviours:
            if behaviour.id in seen:
                raise ValueError(f"behaviour id {behaviour.id!r} is used twice")
            seen.add(behaviour.id)
        return behaviours
