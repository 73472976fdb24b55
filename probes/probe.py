"""The probe: a forward hook that logs the ranked statistics of every token a training step scores.

`Probe.attach(model, run_dir)` works on any Hugging Face causal language model, in a plain PyTorch loop, on a stock TRL
trainer (`trainer.model`) and under this package's engine, which says with `probe.batch(…)` what each forward means.

What is logged: forwards of the model in training mode with gradients enabled (so neither rollouts nor passes under
`torch.no_grad()`), once each, also when activation checkpointing runs parts of the model again in backward. Once
`batch()` has been used, only forwards inside it.

Invariants: after `attach` nothing raises into training, but for a misspelt argument of `batch` and Ctrl-C: an error is
counted, warned about once (printed, where warnings are errors) and switches the probe off. Statistics are copied behind
an event and read on the recorder's thread. `NullProbe` is a probe that does nothing.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch

from ..store.writing.row_sampling import LoggedRows
from .attachment import attach_to
from .head.ranked_head import RankedHead
from .null import NullProbe
from .recording.capture import inputs_of, is_training_forward
from .recording.forwards import UNSEEN, Forwards
from .recording.guard import Guard, say, was_interrupted
from .recording.rows import RESPONSE_FIELDS
from .recording.scope import Scope
from .recording.step_clock import StepClock
from .statistics.token_stats import TokenStats

__all__ = ["NullProbe", "Probe"]


class Probe:
    """Logs what a model's training steps score; make one with `attach`.

    Attributes:
        recorder: where the rows go (`simko.store.Recorder`).
        step: the optimizer step being scored, from 1.
        clock: counts optimizer steps; a trainer that calls `end_step` itself may `remove()` it.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        recorder: Any,
        *,
        k: int,
        temperature: float,
        tau: float,
        tokenizer: Any = None,
        start_step: int = 0,
        head: RankedHead | None = None,
        worker: tuple[int, int] = (0, 1),
    ) -> None:
        self.recorder, self.step = recorder, start_step + 1
        self._guard = Guard()
        self._forwards = Forwards(k=k, temperature=temperature, tau=tau, tokenizer=tokenizer, worker=worker)
        self._head = head
        self._scope: Scope | None = None
        self._scopes_only = False
        self._scored = self._seen = False  # whether anything was logged in the current step, or ever
        self._open = True
        # Not to be traced: the counters here would make torch.compile compile anew at each step.
        self._hook = model.register_forward_hook(torch.compiler.disable(self._forward), with_kwargs=True)
        self.clock = StepClock(model, self._optimizer_stepped, lambda: self._scored, self._guard)
        atexit.register(self.close, "interrupted")

    @classmethod
    def attach(
        cls,
        model: torch.nn.Module,
        run_dir: str | Path,
        *,
        k: int = 5,
        temperature: float | None = None,
        tau: float = 0.8,
        tokenizer: Any = None,
        info: Mapping[str, Any] | None = None,
        recorder: Any = None,
        resume: bool = False,
        change_meaning: bool = False,
        start_step: int = 0,
        rows: LoggedRows | None = None,
        verify: bool = True,
    ) -> Self:
        """Attach a probe to a model and open (or continue) the run folder.

        Args:
            model: a causal language model, also wrapped by PEFT, DDP or `torch.compile`; `trainer.model` of a trainer.
            run_dir: the run's folder; made if need be.
            k: number of ranked candidates K to log.
            temperature: what logits are divided by first; None follows the trainer's head, else 1.
            tau: quantile of the forking rule.
            tokenizer: gives the vocabulary's texts and, for responses the probe names, prompts and completions.
            info: entries of `run.json` to set: method, hyperparameters, model, task, dataset, config, …
            recorder: a recorder already open on the run folder; the folder's `run.json` is then the caller's.
            resume: continue a run that is there already, as a new attempt.
            change_meaning: also with another K, temperature, forking rule, smoothing or choice of rows.
            start_step: optimizer steps done before; the first one logged is `start_step + 1`.
            rows: which token rows are written, and how exactly; None: all. Roll-ups always count every token.
            verify: run a few tokens to see that the logged statistics will be the model's own.

        Raises:
            TooManyCandidates: K is not in 1..V.
            ProbeCannotSee, HeadMismatch: the distributions cannot be seen; the message says what to change.
            RunExists, RunUnwritable, SchemaTooNew, RunBusy, MeaningChanged: about the run folder.
        """
        place = attach_to(
            model,
            Path(run_dir),
            k=k,
            temperature=temperature,
            tau=tau,
            tokenizer=tokenizer,
            info=info or {},
            recorder=recorder,
            resume=resume,
            change_meaning=change_meaning,
            start_step=start_step,
            rows=rows or LoggedRows(),
            verify=verify,
        )
        return cls(
            place.model,
            place.opened.recorder,
            k=k,
            temperature=place.temperature,
            tau=tau,
            tokenizer=tokenizer,
            start_step=start_step,
            head=place.head,
            worker=(place.opened.rank, place.opened.world_size),
        )

    @property
    def errors(self) -> int:
        """Number of errors of the probe itself; the first one switches it off."""
        return self._guard.errors

    @property
    def active(self) -> bool:
        """Whether anything is still logged."""
        return self._open and self.errors == 0

    @contextmanager
    def batch(
        self,
        *,
        step: int | None = None,
        response_ids: Any = None,
        verdicts: Any = None,
        mask: torch.Tensor | None = None,
        **about: Sequence[Any],
    ) -> Iterator[Scope]:
        """Say what the forwards inside the block mean; each takes as many of the entries as it has rows, in turn.

        They are logged when the block ends; until then `credit` of the scope given can say what the loss does.

        Args:
            step: optimizer step whose loss scores them; None counts optimizer steps.
            response_ids: (N,) ids, as list or tensor, whose rows the caller writes with `responses`. None: the probe
                names the responses and writes their rows.
            verdicts: (N,) of `right`, `wrong`, `unjudged`, or a tensor of their indices in `VERDICTS`.
            mask: (N, T) tokens that count in the loss; its columns are the last T positions of the forward, and column
                0 is position 0 of the response. None: what the forward scores.
            **about: further columns of the responses the probe names: rewards, advantages, prompt_ids, group_ids,
                truncated, prompts, completions.
        """
        if unknown := set(about) - set(RESPONSE_FIELDS):
            raise TypeError(f"batch() takes no {', '.join(sorted(unknown))}; known are {', '.join(RESPONSE_FIELDS)}")
        self._scopes_only = True
        outer = self._scope
        scope = Scope(step, response_ids, verdicts, mask, {RESPONSE_FIELDS[n]: v for n, v in about.items()})
        self._scope = scope
        try:
            yield scope
        finally:
            self._scope = outer
            self._guard(self._release, scope)

    def rescored(self, before: TokenStats, after: TokenStats, *, verdicts: torch.Tensor, mask: torch.Tensor) -> None:
        """Log how the distributions of the open step's tokens have changed; before `end_step`.

        Args:
            before, after: (B, T) statistics of the same tokens, as scored by the loss and after the optimizer's step.
            verdicts: (B,) indices in `VERDICTS`.
            mask: (B, T) tokens that count.
        """
        if self.active:
            self._guard(lambda: self.recorder.put_shift(self._forwards.shift(before, after, verdicts, mask)))

    def responses(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write rows of `responses` (columns of the schema without attempt and worker)."""
        if self.active:
            self._guard(self.recorder.put_responses, columns)

    def evals(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write rows of `evals` (columns of the schema without attempt and worker)."""
        if self.active:
            self._guard(self.recorder.put_evals, columns)

    def end_step(self, step: int | None = None) -> None:
        """Close an optimizer step: what is scored next belongs to the next one.

        Called by itself after each step of an optimizer over this model's parameters. Call it where none can be seen
        (DeepSpeed, optimizers outside torch.optim); called after such a step as well, it changes nothing.

        Args:
            step: the step that ended, which takes precedence over counting. None: the current one, if it has scored
                anything.
        """
        if self.active:
            self._guard(self._end_step, step)

    def flush(self) -> None:
        """Write everything logged so far and wait until it is on disk; call it before saving a checkpoint."""
        if self.active:
            self._guard(self.recorder.flush)

    def close(self, status: str = "finished") -> None:
        """Write everything out and let go of the model. Later calls do nothing.

        Args:
            status: `finished`, `interrupted`, `diverged` or `failed`, for the run's manifest.
        """
        if not self._open:
            return
        self._open = False
        atexit.unregister(self.close)
        self._guard(self._let_go)
        self._guard(self._finish, status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        self.close("finished" if kind is None else "interrupted" if was_interrupted(error) else "failed")

    # The training thread
    def _forward(self, *call: Any) -> None:
        if self.active:
            self._guard(self._see, *call)

    def _see(self, module: torch.nn.Module, *call: Any) -> None:
        if is_training_forward(module) and (self._scope is not None or not self._scopes_only):
            self._log(module, *call)

    @torch.no_grad()
    def _log(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        scope = self._scope or Scope()
        scored = self._forwards.capture(output, inputs_of(module, args, kwargs), scope)
        step = self.step if scope.step is None else int(scope.step)
        if step != self.step and self._scored:
            self._end_step(None)
        self.step = step
        self._scored = self._seen = True
        self._forwards.hold(scored, scope, step)
        if scope is not self._scope:
            self._release(scope)

    def _release(self, scope: Scope) -> None:
        for batch in scope.release():
            self.recorder.put(batch)

    def _optimizer_stepped(self) -> None:
        if self.active and self._scored:
            self._end_step(self.step)
        elif self.active:
            self.step += 1
            if not self._seen and not self._scopes_only:
                self._seen = True
                say(UNSEEN)

    def _end_step(self, step: int | None) -> None:
        if not self._scored and (step is None or step < self.step):  # ended already
            return
        step = self.step if step is None else step
        if self._scope is not None:
            self._release(self._scope)
        self.recorder.end_step(step, self._guard.spent_ms, self._forwards.device.collect())
        self.step, self._scored, self._guard.spent_ms = step + 1, False, 0.0

    def _let_go(self) -> None:
        for hold in (self._hook, self.clock, self._head):
            if hold is not None:
                hold.remove()

    def _finish(self, status: str) -> None:
        try:
            if self._scored:
                self.recorder.end_step(self.step, self._guard.spent_ms, self._forwards.device.collect())
        finally:
            self.recorder.close(status)
