"""The log of a run under verl: opened when the first mini-batch comes, one per worker process, never in training's way.

verl says the temperature with the data and restores checkpoints after its engines are built, so that only the first
mini-batch shows what the log means and at which step it begins.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...probes.head.models import causal_lm
from ...probes.recording.scope import LogitGradient
from ...probes.statistics.token_stats import TokenStats
from ...probes.statistics_log import StatisticsLog
from .micro_batch import prompts_and_responses
from .packed import ResponseRows
from .settings import Settings


class RunLog:
    """Logs micro-batches and steps; does nothing where the settings name no run.

    Args:
        settings: of the worker.
        model_config: verl's `HFModelConfig`.

    Attributes:
        log: the open log; None before `open`, and where nothing is logged.

    Raises:
        RunExists: the folder holds a run already, and the settings do not ask to resume it.
    """

    def __init__(self, settings: Settings, model_config: Any) -> None:
        self._settings, self._model_config = settings, model_config
        self.log: StatisticsLog | None = None
        self._opened = settings.run is None
        self._written: dict[tuple[Any, ...], int] = {}
        self._generation = -1
        settings.check_folder()

    @property
    def wanted(self) -> bool:
        """Whether anything is logged, now or once it is open."""
        return not self._opened or (self.log is not None and self.log.active)

    def open(
        self, model: torch.nn.Module, *, temperature: float, start_step: int, objective: Any, config: dict[str, Any]
    ) -> None:
        """Open the log, on every process together; later calls do nothing.

        Args:
            model: the engine's module.
            temperature: what the logits of the run are divided by.
            start_step: optimizer steps done before.
            objective: the method's objective, or None.
            config: entries of `config` in `run.json`.

        Raises:
            RunExists, RunUnwritable, SchemaTooNew, RunBusy, MeaningChanged: about the run folder.
        """
        if self._opened:
            return
        self._opened = True
        settings = self._settings
        assert settings.run is not None
        self.log = StatisticsLog.open(
            settings.run,
            causal_lm(model),
            k=settings.k,
            temperature=temperature,
            tau=settings.quantile,
            tokenizer=self._model_config.tokenizer,
            info={
                "method": settings.method,
                "hyperparameters": settings.hyperparameters(),
                "model": self._model_config.path,
                "tokenizer": self._model_config.tokenizer_path,
                "smoothing": {
                    "k": getattr(objective, "num_candidates", 0),
                    "weighting": getattr(objective, "weighting", "uniform"),
                },
                "config": {"trainer": f"verl {importlib.metadata.version('verl')}", **config},
            },
            resume=settings.resume,
            change_meaning=settings.change,
            start_step=start_step,
            rows=settings.rows(),
        )

    def guarded(self, function: Callable[..., Any], *args: Any) -> None:
        """Call what only the log needs; its errors end the log."""
        if self.log is not None:
            self.log.guarded(function, *args)

    def micro_batch(
        self,
        data: Mapping[str, Any],
        rows: ResponseRows,
        stats: TokenStats,
        *,
        step: int,
        generation: int,
        temperature: float,
        verdict: torch.Tensor,
        reward: torch.Tensor | None,
        advantage: torch.Tensor,
        credit: LogitGradient | None,
    ) -> None:
        """Log a micro-batch; responses of which no token counts are left out (verl fills batches up with such).

        Args:
            data: the micro-batch.
            rows: where its responses are.
            stats: (B, T) statistics, masked to what counts.
            step: optimizer step being made, from 1.
            generation: rollout batches trained on before this one.
            temperature: what the logits were divided by.
            verdict, reward, advantage: (B,); NaN where not known.
            credit: what the loss does at each token.
        """
        log = self.log
        if log is None:
            return
        kept = stats.mask.any(1)
        some = kept.nonzero().flatten().tolist()
        if not some:
            return
        uids, sessions = (_entries(data, name, len(kept)) for name in ("uid", "session_id"))
        ended = self._ended(data, rows)
        ids, new = self._names(log, data, rows, some, generation, uids, sessions)
        about: dict[str, Any] = {
            "generation": [generation] * len(some),
            "group_id": [None if uids[i] is None else _number(str(uids[i])) for i in some],
            "reward": _known(reward, some),
            "advantage": _known(advantage, some),
            "truncated": [None if ended is None else not ended[i] for i in some],
        }
        inputs = prompts_and_responses(data, rows) if new else None
        log.log(
            TokenStats(*(field[kept] for field in stats)),
            step=step,
            temperature=temperature,
            response_ids=ids,
            verdicts=verdict[kept],
            inputs=None if inputs is None else {name: values[kept] for name, values in inputs.items()},
            about=about if new else {},
            credit=None if credit is None else _kept(credit, kept),
        )

    def end_step(self, step: int) -> None:
        """Close an optimizer step."""
        if self.log is not None:
            self.log.end_step(step)

    def flush(self) -> None:
        """Bring everything to disk: Ray ends workers without a word."""
        if self.log is not None:
            self.log.flush()

    def close(self, status: str = "finished") -> None:
        """Write everything out."""
        if self.log is not None:
            self.log.close(status)

    def _names(
        self,
        log: StatisticsLog,
        data: Mapping[str, Any],
        rows: ResponseRows,
        some: list[int],
        generation: int,
        uids: list[Any],
        sessions: list[Any],
    ) -> tuple[list[int], bool]:
        """Ids of the responses, and whether their rows are still to be written.

        A later epoch over a rollout batch scores the same responses again: they are known by prompt, session and text.
        Without a session two equal responses cannot be told apart, so that each is taken for a new one.
        """
        if generation != self._generation:
            self._generation, self._written = generation, {}
        if any(sessions[i] is None or uids[i] is None for i in some):
            return log.names(len(some)), True
        offsets, values = data["input_ids"].offsets().tolist(), data["input_ids"].values().cpu().numpy()
        keys = [
            (uids[i], sessions[i], values[offsets[i + 1] - rows.lengths[i] : offsets[i + 1]].tobytes()) for i in some
        ]
        new = any(key not in self._written for key in keys)
        if new:
            self._written.update(zip(keys, log.names(len(keys)), strict=True))
        return [self._written[key] for key in keys], new

    def _ended(self, data: Mapping[str, Any], rows: ResponseRows) -> list[bool] | None:
        """(B,) whether a response ends with a token that ends responses; None where no such token is known."""
        ends = getattr(self._model_config.generation_config, "eos_token_id", None)
        if ends is None:
            ends = getattr(self._model_config.tokenizer, "eos_token_id", None)
        if ends is None:
            return None
        ids = data["input_ids"]
        last = ids.values()[ids.offsets()[1:] - 1].tolist()
        known = set(ends) if isinstance(ends, list | tuple) else {ends}
        return [n > 0 and token in known for token, n in zip(last, rows.lengths, strict=True)]


def _entries(data: Mapping[str, Any], name: str, count: int) -> list[Any]:
    """(B,) what a micro-batch says of each response beside tensors; None where it does not."""
    values = data.get(name, None)
    values = values.tolist() if hasattr(values, "tolist") else values
    return list(values) if isinstance(values, list | tuple) and len(values) == count else [None] * count


def _known(values: torch.Tensor | None, some: list[int]) -> list[float | None]:
    listed = [float("nan")] * (max(some) + 1) if values is None else values.tolist()
    return [None if listed[i] != listed[i] else listed[i] for i in some]


def _number(name: str) -> int:
    """A name as a 63-bit number."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def _kept(credit: LogitGradient, kept: torch.Tensor) -> LogitGradient:
    return credit._replace(
        weight=credit.weight[kept],
        ratio=credit.ratio[kept],
        smoothing=None if credit.smoothing is None else credit.smoothing[kept],
        entropy_weight=None if credit.entropy_weight is None else credit.entropy_weight[kept],
    )
