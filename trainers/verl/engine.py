"""verl's FSDP engine, trained by an objective and seen by the probe: five overrides, no copy of verl's loss.

verl asks the engine for the log-probabilities of a micro-batch (`prepare_model_outputs`) and hands them, with the
batch, to its policy loss. Ours computes the ranked statistics of the responses from the same logits. With an objective
it answers with surrogate log-probabilities and puts per-token advantages into the batch, so that every policy loss of
verl trains by the method. Without one verl's own values go through unchanged, gradient included.

With an objective the old and the reference log-probabilities come from the same function, so that ratios are exactly 1
on the policy that sampled.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from ...probes.statistics.token_stats import TokenStats
from ...store.errors import UsageError
from ..engine.logit_gradient import logit_gradient
from ..engine.normaliser import check_mean
from ..engine.scored_batch import scored_batch
from ..objectives import ScoredBatch, Surrogate
from . import micro_batch as mb
from .batch_counts import BatchCounts, count_batch, figures
from .loss_terms import aggregated, clip_range, config_of, token_share
from .options import check_engine, response_credit, scalar_temperature
from .packed import ResponseRows, response_statistics
from .run_log import RunLog
from .settings import Settings

DEVICES = ["cuda", "npu", "cpu"]
"""Devices the engine is registered for; verl's own is not registered for the CPU, where tests run."""


class Scored(NamedTuple):
    """A micro-batch between its forward and its loss.

    Attributes:
        data: the micro-batch.
        rows: where its responses are.
        stats: (B, T) ranked statistics, masked to what counts; None where the log could not have them.
        batch: what the objective saw; its tensors are those the loss is made from.
        surrogate: what the loss consumes; None without an objective.
        reward: (B,), or None.
        verdict: (B,).
    """

    data: Any
    rows: ResponseRows
    stats: TokenStats | None
    batch: ScoredBatch
    surrogate: Surrogate | None
    reward: torch.Tensor | None
    verdict: torch.Tensor


class RankedFSDPEngine(FSDPEngineWithLMHead):
    """The engine; `Settings.from_environment` says what it does.

    Raises:
        UsageError: the settings are wrong, or verl is configured in a way that hides the logits.
    """

    def __init__(self, model_config: Any, engine_config: Any, *args: Any, **kwargs: Any) -> None:
        self.settings = Settings.from_environment()
        self.objective = self.settings.objective()
        check_engine(model_config, engine_config)
        self._trains = not engine_config.forward_only  # the reference policy is an engine too
        self.run_log = RunLog(self.settings, model_config) if self._trains else None
        self.step = 1
        self._started = False
        self._counts: BatchCounts | None = None
        self._scored: Scored | None = None
        super().__init__(model_config, engine_config, *args, **kwargs)

    def forward_backward_batch(self, data: Any, loss_function: Any, forward_only: bool = False) -> Any:
        """As verl's; counts the mini-batch first, over all processes, and opens the log before the first one."""
        if not forward_only and self._trains:
            self._start(data, loss_function)
            self._counts = count_batch(data, self.get_data_parallel_group())
        return super().forward_backward_batch(data, loss_function, forward_only=forward_only)

    def forward_step(self, micro_batch: Any, loss_function: Any, forward_only: bool) -> tuple[torch.Tensor, Any]:
        """As verl's; adds the objective's penalty to the loss, and logs what the loss does at each token."""
        self._scored = None
        loss, output = super().forward_step(micro_batch, loss_function=loss_function, forward_only=forward_only)
        scored, self._scored = self._scored, None
        if scored is None:
            return loss, output
        config = config_of(loss_function)
        if scored.surrogate is not None and scored.surrogate.penalty is not None:
            loss = loss + aggregated(scored.surrogate.penalty, scored.batch.mask, config)
            output["loss"] = loss.detach().item()
        assert self.run_log is not None
        self.run_log.guarded(self._log, scored, loss, config)
        assert self._counts is not None
        forking = None if scored.surrogate is None else scored.surrogate.forking
        for name, value in figures(scored.stats, scored.batch.mask, forking, self._counts).items():
            output["metrics"][name] = Metric(aggregation=AggregationType.SUM, value=value)
        return loss, output

    def prepare_model_outputs(
        self, output: Any, output_args: Any, micro_batch: Any, logits_processor_func: Any
    ) -> dict[str, Any]:
        """verl's outputs, with the log-probabilities of the objective at the tokens of the responses."""
        training = torch.is_grad_enabled() and self._trains
        if "responses" not in micro_batch or (self.objective is None and not training):
            if training:
                raise UsageError(
                    "the batch holds no responses: simko's engine serves verl's PPO trainers; for other trainers leave "
                    "VERL_ENGINE_VENDOR=simko out"
                )
            return dict(super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func))
        if self.objective is not None and tu.get_non_tensor_data(micro_batch, "distillation_use_topk", default=False):
            raise UsageError(f"--method {self.settings.method} and top-K distillation exclude each other: choose one")
        stock = super().prepare_model_outputs
        with nullcontext() if self.objective is None else torch.no_grad():
            result: dict[str, Any] = stock(output, output_args, micro_batch, logits_processor_func)
        if result.get("log_probs") is None:
            raise UsageError("distillation without a policy loss has no log-probabilities to train: use verl's engine")
        packed = bool(tu.get_non_tensor_data(data=micro_batch, key="use_remove_padding", default=True))
        rows = mb.response_rows(micro_batch, packed)
        nested = mb.response_rows(micro_batch, packed=True)  # outputs are packed either way
        stats: TokenStats | None = None
        if self.objective is not None:
            k = self.objective.num_candidates
            if training and self.run_log is not None and self.run_log.wanted:
                k = max(k, self.settings.k)
            stats = self._statistics(output.logits, micro_batch, rows, k)
        elif self.run_log is not None and self.run_log.wanted:
            kept: list[TokenStats] = []
            with torch.no_grad():
                self.run_log.guarded(
                    lambda: kept.append(self._statistics(output.logits.detach(), micro_batch, rows, self.settings.k))
                )
            stats = kept[0] if kept else None
        logprob = nested.gather(result["log_probs"].values()) if stats is None or not self._replaces else stats.logprob
        entropy = stats.entropy if self._replaces and stats is not None else None
        if entropy is None and "entropy" in result:
            entropy = nested.gather(result["entropy"].values())
        if training:
            logprob = self._score(micro_batch, rows, stats, logprob, entropy, logits_processor_func)
        for name, values in (("log_probs", logprob), ("entropy", entropy)):
            if name in result and values is not None:
                flat = nested.place(values, result[name].values())
                result[name] = torch.nested.nested_tensor_from_jagged(flat, result[name].offsets())
        return result

    def optimizer_step(self) -> float:
        """As verl's; closes a step of the log."""
        norm: float = super().optimizer_step()
        if self.run_log is not None:
            self.run_log.end_step(self.step)
        self.step += 1
        return norm

    def lr_scheduler_step(self) -> Any:
        """As verl's, after each rollout batch; what was logged is then on disk, and the log ends with training."""
        rate = super().lr_scheduler_step()
        if self.run_log is not None:
            self.run_log.flush()
            last = getattr(self.optimizer_config, "total_training_steps", -1) or -1
            if 0 < last <= self.generation:
                self.run_log.close("finished")
        return rate

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """As verl's; what leads up to a checkpoint is on disk before the checkpoint is."""
        if self.run_log is not None:
            self.run_log.flush()
        return super().save_checkpoint(*args, **kwargs)

    @property
    def generation(self) -> int:
        """Rollout batches trained on so far, in all attempts: verl steps its scheduler once after each."""
        return int(self.lr_scheduler.last_epoch)

    @property
    def _replaces(self) -> bool:
        """Whether our values take the place of verl's."""
        return self.objective is not None

    def _start(self, data: Any, loss_function: Any) -> None:
        """Before the first mini-batch, after a checkpoint was restored."""
        if self._started:
            return
        self._started = True
        done = [int(state["step"]) for state in self.optimizer.state.values() if "step" in state]
        self.step = max(done, default=0) + 1
        config = config_of(loss_function)
        if config is None:
            raise UsageError("simko's engine serves verl's PPO loss, whose configuration this loss function hides")
        check_mean(self.objective, config.loss_agg_mode, "loss_agg_mode", ["token-mean"])
        assert self.run_log is not None
        self.run_log.open(
            self.module,
            temperature=scalar_temperature(data),
            start_step=self.step - 1,
            objective=self.objective,
            config={
                "loss_mode": str(config.policy_loss.get("loss_mode", "vanilla")),
                "loss_agg_mode": config.loss_agg_mode,
                "clip_range": list(clip_range(config)),
                "clip_ratio_c": config.clip_ratio_c,
                "entropy_coeff": config.entropy_coeff,
                "kl_loss_coef": config.kl_loss_coef if config.use_kl_loss else 0.0,
            },
        )

    def _statistics(self, logits: Any, data: Any, rows: ResponseRows, k: int) -> TokenStats:
        if isinstance(logits, torch.distributed.tensor.DTensor):  # split over the vocabulary, as verl gathers it
            logits = logits.full_tensor()
        flat = logits.flatten(0, 1)
        return response_statistics(flat, mb.response_tokens(data, rows), rows, max(1, k), scalar_temperature(data))

    def _score(
        self,
        data: Any,
        rows: ResponseRows,
        stats: TokenStats | None,
        logprob: torch.Tensor,
        entropy: torch.Tensor | None,
        loss_function: Any,
    ) -> torch.Tensor:
        """Keep the micro-batch for its loss; the log-probabilities (B, T) that the loss is to consume."""
        mask = mb.loss_mask(data)
        reward = mb.rewards(data)
        verdict = mb.verdicts(reward, mask.size(0), mask.device)
        stats = None if stats is None else stats._replace(mask=stats.mask & mask)
        counts = self._counts
        inputs = {
            "verdict": verdict,
            "loss_mask": mask,
            "advantages": mb.response_advantages(data, mask),
            "old_per_token_logps": mb.dense(data["old_log_probs"]).float() if "old_log_probs" in data else None,
            "right_share": None if counts is None else counts.right_share,
            "wrong_share": None if counts is None else counts.wrong_share,
        }
        batch = scored_batch(
            inputs,
            logprob,
            torch.zeros_like(logprob) if entropy is None else entropy,
            stats,
            step=self.step,
            epsilon=clip_range(config_of(loss_function)),
        )
        surrogate = None
        if self.objective is not None:
            response_credit(data, batch, reward, self.settings.method, self.objective)
            surrogate = self.objective(batch)
            advantages = surrogate.advantages
            if advantages.dim() == 1:
                advantages = advantages.unsqueeze(1)
            given = data["advantages"]
            data["advantages"] = mb.like((advantages * mask).to(given.dtype), given)
        self._scored = Scored(data, rows, stats, batch, surrogate, reward, verdict)
        return logprob if surrogate is None else surrogate.logprob

    def _log(self, scored: Scored, loss: torch.Tensor, config: Any) -> None:
        assert self.run_log is not None and scored.stats is not None
        share = token_share(scored.batch.mask, config)
        self.run_log.micro_batch(
            scored.data,
            scored.rows,
            scored.stats,
            step=self.step,
            generation=self.generation,
            temperature=scalar_temperature(scored.data),
            verdict=scored.verdict,
            reward=scored.reward,
            advantage=scored.batch.advantages,
            credit=logit_gradient(loss, scored.batch, share, self.objective),
        )
