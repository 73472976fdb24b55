"""The probe of a trainer that computes ranked statistics itself: no forward hook, the same rows on disk.

`Probe` watches a model's forward. An engine that has the logits of a micro-batch in its hands (packed as it likes, with
a mask of its own) computes `ranked_statistics` where they are, puts them at (B, T), and hands them over here.

Invariants: opening fails loudly; afterwards nothing raises into training. An error is counted, warned about once, and
ends the logging. Statistics are copied behind an event and read on the recorder's thread.
"""

from __future__ import annotations

import atexit
import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from ..store.writing.row_sampling import LoggedRows
from .recording.device_time import DeviceTime
from .recording.guard import Guard
from .recording.handover import deferred_batch
from .recording.run_folder import OpenedRun, open_run
from .recording.scope import LogitGradient
from .statistics.token_stats import TokenStats


class StatisticsLog:
    """Writes the statistics a trainer hands over; make one with `open`.

    Attributes:
        recorder: where the rows go (`simko.store.Recorder`).
    """

    def __init__(self, opened: OpenedRun, *, k: int, temperature: float, tau: float, tokenizer: Any = None) -> None:
        self.recorder = opened.recorder
        self._rank, self._world_size = opened.rank, opened.world_size
        self._k, self._temperature, self._tau = k, temperature, tau
        self._tokenizer = copy.deepcopy(tokenizer)  # its own, since fast tokenizers must not be used by two threads
        self._guard, self._device = Guard(), DeviceTime()
        self._named = 0
        self._open = True
        atexit.register(self.close, "interrupted")

    @classmethod
    def open(
        cls,
        run_dir: str | Path,
        model: Any,
        *,
        k: int = 5,
        temperature: float = 1.0,
        tau: float = 0.8,
        tokenizer: Any = None,
        info: Mapping[str, Any] | None = None,
        resume: bool = False,
        change_meaning: bool = False,
        start_step: int = 0,
        rows: LoggedRows | None = None,
    ) -> Self:
        """Open (or continue) a run folder. Every process of a `torch.distributed` group calls it.

        Args:
            run_dir: the run's folder; made if need be.
            model: the transformers model, for its name and the size of its vocabulary.
            k: number of ranked candidates K to log.
            temperature: what the logits are divided by before the statistics are computed.
            tau: quantile of the forking rule.
            tokenizer: gives the vocabulary's texts, prompts and completions.
            info: entries of `run.json` to set: method, hyperparameters, model, task, config, …
            resume: continue a run that is there already, as a new attempt.
            change_meaning: also with another K, temperature, forking rule, smoothing or choice of rows.
            start_step: optimizer steps done before.
            rows: which token rows are written; None: all.

        Raises:
            RunExists, RunUnwritable, SchemaTooNew, RunBusy, MeaningChanged: about the run folder.
        """
        opened = open_run(
            Path(run_dir),
            model,
            k=k,
            temperature=temperature,
            tau=tau,
            tokenizer=tokenizer,
            info=info or {},
            recorder=None,
            resume=resume,
            change_meaning=change_meaning,
            start_step=start_step,
            rows=rows or LoggedRows(),
        )
        return cls(opened, k=k, temperature=temperature, tau=tau, tokenizer=tokenizer)

    @property
    def errors(self) -> int:
        """Number of errors of the log itself; the first one ends it."""
        return self._guard.errors

    @property
    def active(self) -> bool:
        """Whether anything is still logged."""
        return self._open and self.errors == 0

    def guarded(self, function: Callable[..., Any], *args: Any) -> None:
        """Call what only the log needs, under the log's guard: its errors end the log and not the training."""
        if self.active:
            self._guard(function, *args)

    def names(self, count: int) -> list[int]:
        """Ids for `count` responses that no other process of the run gives."""
        first = self._named
        self._named += count
        return [i * self._world_size + self._rank for i in range(first, first + count)]

    def log(
        self,
        stats: TokenStats,
        *,
        step: int,
        temperature: float,
        response_ids: Sequence[int],
        verdicts: torch.Tensor | None = None,
        inputs: Mapping[str, torch.Tensor] | None = None,
        about: Mapping[str, Sequence[Any]] | None = None,
        credit: LogitGradient | None = None,
    ) -> None:
        """Log a micro-batch of responses; column 0 is position 0 of a response.

        Args:
            stats: (B, T) statistics, whose mask says which tokens count in the loss.
            step: optimizer step whose loss scores them.
            temperature: what the logits were divided by; it has to be the run's.
            response_ids: (B,) as from `names`.
            verdicts: (B,) indices in `VERDICTS`; None: unjudged.
            inputs: `input_ids` and `attention_mask` (B, S), whose last T columns are the responses: the rows of
                `responses` are then written too. None: they were written before.
            about: further columns of `responses`, under their names.
            credit: what the loss does at each token, or None.
        """
        self.guarded(
            self._log, stats, step, temperature, list(response_ids), verdicts, inputs, dict(about or {}), credit
        )

    def end_step(self, step: int) -> None:
        """Close an optimizer step."""
        self.guarded(self._end_step, step)

    def flush(self) -> None:
        """Write everything logged so far and wait until it is on disk."""
        if self.active:
            self._guard(self.recorder.flush)

    def close(self, status: str = "finished") -> None:
        """Write everything out; later calls do nothing.

        Args:
            status: `finished`, `interrupted`, `diverged` or `failed`, for the run's manifest.
        """
        if not self._open:
            return
        self._open = False
        atexit.unregister(self.close)
        self._guard(self.recorder.close, status)

    @torch.no_grad()
    def _log(
        self,
        stats: TokenStats,
        step: int,
        temperature: float,
        response_ids: list[int],
        verdicts: torch.Tensor | None,
        inputs: Mapping[str, torch.Tensor] | None,
        about: dict[str, Sequence[Any]],
        credit: LogitGradient | None,
    ) -> None:
        if temperature != self._temperature:
            raise ValueError(
                f"the run logs log-probabilities at temperature {self._temperature:g}, and this micro-batch was scored "
                f"at {temperature:g}: keep one temperature, or log another run"
            )
        stats = stats.detach()
        stats = stats._replace(top_logprob=stats.top_logprob[..., : self._k], top_id=stats.top_id[..., : self._k])
        metadata = {"response_id": response_ids, **({} if verdicts is None else {"verdict": verdicts}), **about}
        batch = self._device.timed(
            deferred_batch,
            stats,
            metadata,
            inputs or {},
            credit,
            step=step,
            tau=self._tau,
            own_mask=False,
            tokenizer=self._tokenizer,
            names_responses=inputs is not None,
        )
        self.recorder.put(batch)

    def _end_step(self, step: int) -> None:
        self.recorder.end_step(step, self._guard.spent_ms, self._device.collect())
        self._guard.spent_ms = 0.0
