"""The nodes from tokenized examples to the trained model, for each strategy of token cleaning. Wiring only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx.components import Transform
from tfx.dsl.components.base.base_node import BaseNode
from tfx.proto import transform_pb2
from tfx.types.channel import BaseChannel

from components.cleaning_report.component import CleaningReport
from components.export.formats import HUGGING_FACE
from components.partitioner.component import Partitioner
from components.receipt.component import Receipt
from components.schema_importer.component import SchemaImporter
from components.splits import EVAL, TRAIN
from components.token_scorer.component import TokenScorer
from components.trainer.component import Trainer
from configs.schema import MethodSection, RunConfig, TrainSection
from pipeline.code_hash import REPOSITORY_ROOT, hash_code, hash_preset
from pipeline.paths import PIPELINE_ROOT, Places
from pipeline.platforms import Platform

TOKENIZED_SCHEMA = REPOSITORY_ROOT / "components" / "transform" / "tokenized_schema.pbtxt"
SCORED_SCHEMA = REPOSITORY_ROOT / "components" / "transform" / "scored_schema.pbtxt"
WARMUP = "warmup"


def make_training_nodes(
    config: RunConfig, tokenized: BaseChannel, places: Places, platform: Platform
) -> list[BaseNode]:
    """Returns the nodes in order; the last one is the Trainer whose model is the candidate.

    Args:
        config: The run.
        tokenized: Output of the Tokenizer.
        places: Where the nodes write.
        platform: Where the nodes run.
    """
    factory = _Factory(config=config, places=places, tokenized=tokenized, platform=platform)
    match config.token_cleaning.strategy:
        case "none":
            return factory.make_uncleaned()
        case "fixed" if config.token_cleaning.reference.preset is None:
            return factory.make_with_trained_reference()
        case "self_evolving":
            return factory.make_self_evolving()
        case _:
            return factory.make_with_given_reference()


@dataclass
class _Factory:
    config: RunConfig
    places: Places
    tokenized: BaseChannel
    platform: Platform

    def make_uncleaned(self) -> list[BaseNode]:
        schema = self._schema(TOKENIZED_SCHEMA).with_id("TokenizedSchema")
        transform = self._transform("", self.tokenized, schema, TRAIN, is_scored=False)
        return [schema, transform, *self._train("", transform, TRAIN)]

    def make_with_given_reference(self) -> list[BaseNode]:
        """`random`, which needs no reference, and `fixed` with a preset."""
        schema = self._schema(SCORED_SCHEMA).with_id("ScoredSchema")
        scorer = self._scorer("", self.tokenized, TRAIN)
        transform = self._transform("", scorer.outputs["scored_examples"], schema, TRAIN, is_scored=True)
        report = self._report("", 1, scorer, transform)
        return [schema, scorer, transform, report, *self._train("", transform, TRAIN)]

    def make_with_trained_reference(self) -> list[BaseNode]:
        reference = self.config.token_cleaning.reference
        shares = {WARMUP: reference.warmup_share}
        partitioner = self._partitioner(shares)
        parts = partitioner.outputs["parts"]
        schema = self._schema(TOKENIZED_SCHEMA).with_id("TokenizedSchema")
        warmup_transform = self._transform("Reference", parts, schema, WARMUP, is_scored=False)
        warmup_receipt, trainer = self._train(
            "Reference", warmup_transform, WARMUP, is_reference=True, method=reference.method, train=reference.train
        )
        scored_schema = self._schema(SCORED_SCHEMA).with_id("ScoredSchema")
        scorer = self._scorer("", self.tokenized, TRAIN, reference_model=trainer.outputs["model"])
        transform = self._transform("", scorer.outputs["scored_examples"], scored_schema, TRAIN, is_scored=True)
        report = self._report("", 1, scorer, transform, shares)
        warmup = [partitioner, schema, warmup_transform, warmup_receipt, trainer]
        return [*warmup, scored_schema, scorer, transform, report, *self._train("", transform, TRAIN)]

    def make_self_evolving(self) -> list[BaseNode]:
        """Part 0 trains the first reference with all tokens; each later part is scored against the newest model."""
        count = self.config.token_cleaning.parts
        names = [f"part_{i}" for i in range(count)]
        partitioner = self._partitioner(dict.fromkeys(names, 1 / count))
        parts = partitioner.outputs["parts"]
        schema = self._schema(TOKENIZED_SCHEMA).with_id("TokenizedSchema")
        transform = self._transform("Round0", parts, schema, names[0], is_scored=False)
        receipt, trainer = self._train("Round0", transform, names[0], is_reference=True, round_index=0)
        scored_schema = self._schema(SCORED_SCHEMA).with_id("ScoredSchema")
        nodes: list[BaseNode] = [partitioner, schema, transform, receipt, trainer, scored_schema]
        for i in range(1, count):
            is_last = i == count - 1
            prefix = "" if is_last else f"Round{i}"
            newest = trainer.outputs["model"]
            scorer = self._scorer(prefix, parts, names[i], reference_model=newest)
            transform = self._transform(prefix, scorer.outputs["scored_examples"], scored_schema, TRAIN, is_scored=True)
            report = self._report(prefix, i, scorer, transform)
            receipt, trainer = self._train(
                prefix, transform, TRAIN, is_reference=not is_last, round_index=i, base_model=newest
            )
            nodes += [scorer, transform, report, receipt, trainer]
        return nodes

    def _schema(self, path: Path) -> SchemaImporter:
        return SchemaImporter(path, self.platform.locate(str(path)))

    def _partitioner(self, shares: dict[str, float]) -> Partitioner:
        return Partitioner(
            examples=self.tokenized,
            shares=shares,
            seed=self.config.token_cleaning.seed,
            code_hash=hash_code("components.partitioner.executor"),
        )

    def _scorer(
        self, prefix: str, examples: BaseChannel, split: str, reference_model: BaseChannel | None = None
    ) -> TokenScorer:
        cleaning, model = self.config.token_cleaning, self.config.model
        reference = cleaning.reference.preset if cleaning.strategy == "fixed" and reference_model is None else None
        scoring: dict[str, Any] = {"strategy": cleaning.strategy, "split": split, "base": "", "reference": ""}
        preset_hash = ""
        if cleaning.strategy == "random":
            scoring["seed"] = cleaning.seed
        else:
            scoring |= {"base": model.preset, "dtype": model.dtype, "batch_size": cleaning.batch_size}
            scoring["reference"] = reference or ""
            preset_hash = hash_preset(model.preset)[0] + (hash_preset(reference)[0] if reference else "")
        return TokenScorer(
            examples=examples,
            scoring=scoring,
            preset_hash=preset_hash,
            code_hash=hash_code("components.token_scorer.executor"),
            reference_model=reference_model,
        ).with_id(f"{prefix}TokenScorer")

    def _transform(
        self, prefix: str, examples: BaseChannel, schema: BaseNode, split: str, *, is_scored: bool
    ) -> Transform:
        cleaning = self.config.token_cleaning.model_dump(mode="json", include={"keep", "scope"}) if is_scored else None
        return Transform(
            examples=examples,
            schema=schema.outputs["schema"],
            preprocessing_fn="components.transform.module.preprocessing_fn",
            splits_config=transform_pb2.SplitsConfig(analyze=[split], transform=[split, EVAL]),
            disable_statistics=True,
            custom_config={"cleaning": cleaning, "code_hash": hash_code("components.transform.module")},
        ).with_id(f"{prefix}Transform")

    def _report(
        self, prefix: str, index: int, scorer: TokenScorer, transform: Transform, warmup: dict[str, float] | None = None
    ) -> CleaningReport:
        cleaning = self.config.token_cleaning
        return CleaningReport(
            scored_examples=scorer.outputs["scored_examples"],
            transform_graph=transform.outputs["transform_graph"],
            settings={
                **cleaning.model_dump(mode="json", include={"strategy", "keep", "scope"}),
                "round": index,
                "preset": self.config.model.preset,
                "slice_columns": list(self.config.data.slice_columns),
                "warmup": {"shares": warmup, "seed": cleaning.seed} if warmup else None,
            },
            code_hash=hash_code("components.cleaning_report.executor"),
        ).with_id(f"{prefix}CleaningReport")

    def _train(self, prefix: str, transform: Transform, split: str, **options: Any) -> tuple[Receipt, Trainer]:
        """Returns a training, which waits for the receipt of what it reads, and that receipt; for `options` see `_trainer`."""
        receipt = self._receipt(prefix, transform, split)
        trainer = self._trainer(prefix, transform, split, **options)
        # As an input it would be part of the cache key, and other rules would train anew.
        trainer.add_upstream_node(receipt)
        return receipt, trainer

    def _receipt(self, prefix: str, transform: Transform, split: str) -> Receipt:
        config = self.config
        return Receipt(
            examples=transform.outputs["transformed_examples"],
            settings={
                "train_split": split,
                "eval_split": EVAL,
                "preset": config.model.preset,
                "text": config.text.model_dump(mode="json"),
                "rules": config.receipt.model_dump(mode="json"),
                "copy_folder": "" if self.platform.keeps_failed_outputs else self.places.receipts,
            },
            preset_hash=hash_preset(config.model.preset)[1],
            code_hash=hash_code("components.receipt.executor"),
        ).with_id(f"{prefix}Receipt")

    def _trainer(
        self,
        prefix: str,
        transform: Transform,
        split: str,
        *,
        is_reference: bool = False,
        round_index: int | None = None,
        base_model: BaseChannel | None = None,
        method: MethodSection | None = None,
        train: TrainSection | None = None,
    ) -> Trainer:
        config = self.config
        section = (train or config.train).model_dump(mode="json")
        if round_index is not None and section["max_steps"] is not None:
            # The rounds together take as many steps as one training would.
            total, count = section["max_steps"], config.token_cleaning.parts
            section["max_steps"] = total * (round_index + 1) // count - total * round_index // count
        return Trainer(
            examples=transform.outputs["transformed_examples"],
            transform_graph=transform.outputs["transform_graph"],
            base_model=base_model,
            train_split=split,
            eval_split=EVAL,
            custom_config={
                "model": config.model.model_dump(mode="json"),
                "method": (method or config.method).model_dump(mode="json"),
                "train": section,
                "text": config.text.model_dump(mode="json"),
                "generation": None if is_reference else config.generation.model_dump(mode="json"),
                "export": not is_reference,
                **({} if is_reference else self._more_formats()),
                "preset_hash": hash_preset(config.model.preset)[0],
                "checkpoint_root": self.places.checkpoints,
                "code_hash": hash_code("components.trainer.module", "components.trainer.executor"),
                **self.platform.trainer_config,
            },
            # A reference model's training has options of its own, which the run's parameters do not touch.
            hyperparameters={} if train is not None else self._hyperparameters(round_index),
            root=self.platform.parameters.get(PIPELINE_ROOT),
            executor=self.platform.trainer_executor,
        ).with_id(f"{prefix}Trainer")

    def _more_formats(self) -> dict[str, Any]:
        """Nothing for a run that asks for none, so that its nodes are those of runs before there were any."""
        export = self.config.export
        return {"hugging_face": {"dtype": export.dtype}} if HUGGING_FACE in export.formats else {}

    def _hyperparameters(self, round_index: int | None) -> dict[str, Any]:
        given = {
            key.removeprefix("train."): parameter
            for key, parameter in self.platform.parameters.items()
            if key.startswith("train.")
        }
        if round_index is not None:
            given.pop("max_steps", None)  # each round takes its share of them, which is wired here
        return given
