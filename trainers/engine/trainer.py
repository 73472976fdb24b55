"""The adapter between TRL's `GRPOTrainer` and our objectives and probe: four overrides, no copy of TRL's loss.

TRL scores a micro-batch through `model(…, fused_lm_head=True)`; the ranked head answers that call with the same
log-probabilities and entropies *and* the ranked statistics. The objective turns them into surrogate log-probabilities
and per-token advantages, which TRL's own loss consumes. Without objective and probe nothing is patched, and with a
probe alone the losses equal stock TRL's (golden tests).

Rows keep their identity through TRL's shuffle and split by tensors added to the inputs: `response_id`, `verdict`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from trl import GRPOTrainer

from ...probes.head.ranked_head import add_ranked_head
from ...probes.probe import NullProbe, Probe
from ...probes.statistics.token_stats import TokenStats
from ..objectives import Objective, ScoredBatch
from .callbacks import EndStep, SaveBetweenRollouts
from .dynamic_sampling import Rollouts, check_groups, fill
from .epoch_order import EpochOrder, FollowEpochs
from .figures import forking_fraction, token_figures
from .logit_gradient import logit_gradient
from .micro_batches import micro_batches_of
from .nan_guard import NaNGuard
from .normaliser import check_mean, normalised
from .rescoring import Rescoring
from .response_rows import response_columns
from .sampler_parity import SamplerParity, gaps
from .saving import saving
from .scored_batch import RIGHT, UNJUDGED, WRONG, class_shares, loss_mask, scored_batch
from .seams import IMAGE_INPUTS, SAMPLER_LOGPROB


class RankedGRPOTrainer(GRPOTrainer):
    """`GRPOTrainer` that trains by an objective and shows every scored token to a probe.

    Args:
        objective: the method; None is TRL's own GRPO.
        probe: a `Probe` attached to this trainer's model, or a `NullProbe`.
        rounds: of generation at most to fill a batch with groups whose rewards differ (dynamic sampling); 1 takes
            every group as it comes.
        **kwargs: everything `GRPOTrainer` takes.

    A response whose summed reward is at least 1 is right, one that no reward function could score (all returned None)
    is unjudged, every other one is wrong.
    """

    def __init__(self, *args: Any, objective: Objective | None = None, rounds: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_mean(objective, self.loss_type)
        self.objective = objective
        self.rounds = rounds
        self.probe: Probe | NullProbe = NullProbe()
        self._scored_inputs: dict[str, Any] | None = None
        self._ranked_output: Any = None
        self._penalty: torch.Tensor | None = None
        self._scored: ScoredBatch | None = None  # what the loss of the micro-batch is made from
        self._rewards = torch.empty(0)  # of the rollout batch, every process's
        self._sees_ranks = False
        self.rescoring: Rescoring | None = None
        self._nan_guard: NaNGuard | None = None
        self._sampler_parity: SamplerParity | None = None
        self.add_callback(SaveBetweenRollouts())
        if objective is not None and objective.num_candidates:
            add_ranked_head(self.model, k=objective.num_candidates, temperature=self.temperature)
            self._see_ranks()

    def attach(self, probe: Probe | NullProbe, *, rescore: int = 0) -> None:
        """Show every micro-batch scored from now on to this probe, and tell it when a step ends.

        Args:
            probe: attached to this trainer's model.
            rescore: optimizer steps between those whose micro-batches are scored again, for the probe to log what
                the step did to them; 0: never.
        """
        self.probe = probe
        if not isinstance(probe, Probe):
            return
        self._see_ranks()
        probe.clock.remove()  # a step is over when its callbacks are, not when its optimizer is
        if rescore:

            def report(before: TokenStats, after: TokenStats, inputs: dict[str, Any]) -> None:
                probe.rescored(before, after, verdicts=inputs["verdict"], mask=inputs["loss_mask"])

            self.rescoring = Rescoring(self.score, report, rescore)
            self.add_callback(self.rescoring)
        self.add_callback(EndStep(probe))

    def watch_for_nan(self, guard: NaNGuard) -> None:
        """Show the guard the loss of every micro-batch from now on."""
        self._nan_guard = guard
        self.add_callback(guard)

    def watch_sampler(self, parity: SamplerParity) -> None:
        """Show the guard every micro-batch whose tokens came with the sampler's log-probabilities."""
        self._sampler_parity = parity
        self.add_callback(parity)

    def score(self, model: Any, inputs: dict[str, Any]) -> TokenStats:
        """The ranked statistics of a micro-batch under the present parameters."""
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        images = {name: inputs[name] for name in IMAGE_INPUTS if name in inputs}
        self._scored_inputs = inputs
        try:
            width = inputs["completion_ids"].size(1)
            super()._get_per_token_logps_and_entropies(model, ids, attention, width, **images)
            stats: TokenStats = self._ranked_output.stats
            return stats
        finally:
            self._scored_inputs = self._ranked_output = None

    def log_figures(self, figures: dict[str, float]) -> None:
        """Log figures at the current step, leaving the running means that `GRPOTrainer.log` would flush."""
        due = self.control.should_log
        super(GRPOTrainer, self).log(figures)
        self.control.should_log = due  # logging would count as this step's own, not yet made

    def _note(self, figures: dict[str, float]) -> None:
        """Put figures of a micro-batch among those whose mean is logged."""
        for name, value in figures.items():
            self._metrics["train"][name].append(value)

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        sampler = EpochOrder.like(super()._get_train_sampler(dataset))
        if isinstance(sampler, EpochOrder):
            self.remove_callback(FollowEpochs)
            self.add_callback(FollowEpochs(sampler))
        return sampler

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # What leads up to a checkpoint is on disk before the checkpoint is: a resumed run has no hole behind it.
        self.probe.flush()
        self.accelerator.wait_for_everyone()
        run_dir, step = Path(str(self.args.output_dir)), self.state.global_step
        folder = run_dir / f"checkpoint-{step}"
        with saving(f"the checkpoint of step {step}", folder, run_dir=run_dir, logged=isinstance(self.probe, Probe)):
            super()._save_checkpoint(model, trial)

    def _see_ranks(self) -> None:
        if not self._sees_ranks:
            self.model.register_forward_hook(self._keep_output)
            self._sees_ranks = True

    def _keep_output(self, _module: Any, _inputs: Any, output: Any) -> None:
        if self._scored_inputs is not None:
            self._ranked_output = output

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        rewards_per_func: torch.Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        rewards = (rewards_per_func * self.reward_weights.to(rewards_per_func.device)).nansum(1)
        self._rewards = rewards.masked_fill(rewards_per_func.isnan().all(1), float("nan"))
        return rewards_per_func

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
            return output
        if self._buffered_inputs is None:  # also of a resumed run, which is to sample at the same steps as before
            self._step = micro_batches_of(self.state, self.args, self.callback_handler.train_dataloader)
        rollouts = self._roll_out(inputs)
        if self.rounds > 1:
            rollouts = self._with_contrast(rollouts)
        output, n, rewards = rollouts.output, len(inputs), rollouts.rewards
        verdict = torch.where(rewards.isnan(), UNJUDGED, torch.where(rewards >= 1, RIGHT, WRONG))
        generation = self._generation()
        first = (generation * self.accelerator.num_processes + self.accelerator.process_index) * n
        response_id = torch.arange(first, first + n, device=rewards.device)
        output["verdict"], output["response_id"] = verdict, response_id
        if self.objective is not None:
            output |= class_shares(output, self.accelerator)
        if self.probe.active:
            columns = response_columns(rollouts, self.eos_token_ids, self.num_generations, self.processing_class)
            step = self.state.global_step + 1
            self.probe.responses({**columns, "generation": [generation] * n, "step": [step] * n})
        return output

    def _roll_out(self, inputs: list[dict[str, Any]]) -> Rollouts:
        """Sample and score, and credit by the objective."""
        output = super()._generate_and_score_completions(inputs)
        n, process = len(inputs), self.accelerator.process_index
        if self.objective is not None:
            everyone = self.accelerator.gather(output["advantages"])
            groups = (self._rewards.view(-1, self.num_generations), everyone.view(-1, self.num_generations))
            credit = self.objective.group_advantages(*groups)
            output["advantages"] = credit.flatten()[process * n :][:n]
        return Rollouts(list(inputs), output, self._rewards[process * n : (process + 1) * n])

    def _with_contrast(self, rollouts: Rollouts) -> Rollouts:
        """The batch after dynamic sampling."""
        check_groups(len(rollouts.inputs), self.num_generations)
        place = self._generation() * self.accelerator.num_processes + self.accelerator.process_index
        filled = fill(
            rollouts,
            self._roll_out,
            self.train_dataset,
            group=self.num_generations,
            rounds=self.rounds,
            seed=hash((self.args.seed, place)),
            any_process=lambda here: bool(
                self.accelerator.reduce(torch.tensor(float(here), device=self.accelerator.device)).item()
            ),
        )
        filled.output["num_items_in_batch"] = self.accelerator.gather(loss_mask(filled.output).sum()).sum()
        return filled

    def _generation(self) -> int:
        """Index of the rollout batch being sampled, the same on every rank and after a resume."""
        return int(self._step // (self.args.steps_per_generation * self.num_iterations))

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if not self.model.training or "response_id" not in inputs:
            return super()._compute_loss(model, inputs)
        inputs = {**inputs, "loss_mask": loss_mask(inputs)}
        self._scored_inputs = inputs
        try:
            with self.probe.batch(
                step=self.state.global_step + 1,
                response_ids=inputs["response_id"],
                verdicts=inputs["verdict"],
                mask=inputs["loss_mask"],
            ) as scope:
                scope.sampler_logprob = inputs.get(SAMPLER_LOGPROB)
                loss: torch.Tensor = super()._compute_loss(model, inputs)
                if self._penalty is not None:
                    loss = loss + self._normalised(self._penalty, inputs)
                scored = self._scored
                if scored is not None:
                    scope.credit(
                        lambda: logit_gradient(loss, scored, self._token_share(inputs, scored), self.objective)
                    )
                if self.rescoring is not None:
                    self.rescoring.keep(self.state.global_step + 1, model, inputs, self._ranked_output.stats)
            if self._ranked_output is not None:
                gap = None if scored is None else gaps(inputs, scored.logprob)
                self._note(token_figures(self._ranked_output.stats, inputs["loss_mask"], gap, self.accelerator))
            if self._nan_guard is not None:
                self._nan_guard.see(loss)
            return loss
        finally:
            self._scored_inputs = self._ranked_output = self._penalty = self._scored = None

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        logprob, entropy, aux_loss = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        inputs = self._scored_inputs
        if inputs is not None and self._sampler_parity is not None:
            self._sampler_parity.see(inputs, logprob, self.state.global_step + 1)
        if inputs is None or (self.objective is None and not self.probe.active):
            return logprob, entropy, aux_loss
        self._scored = scored_batch(
            inputs,
            logprob,
            entropy,
            None if self._ranked_output is None else self._ranked_output.stats,
            step=self.state.global_step + 1,
            epsilon=(self.epsilon_low, self.epsilon_high),
        )
        if self.objective is None:
            return logprob, entropy, aux_loss
        surrogate = self.objective(self._scored)
        inputs["advantages"], self._penalty = surrogate.advantages, surrogate.penalty
        if surrogate.forking is not None:
            self._note(forking_fraction(surrogate.forking, inputs["loss_mask"], self.accelerator))
        return surrogate.logprob, entropy, aux_loss

    def _token_share(self, inputs: dict[str, Any], scored: ScoredBatch) -> torch.Tensor:
        """(B, T) what one token's loss counts in the loss of the micro-batch."""
        unit = torch.zeros_like(scored.logprob, requires_grad=True)
        return torch.autograd.grad(self._normalised(unit, inputs), unit)[0]

    def _normalised(self, per_token: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """Sum a per-token loss (B, T) under the normaliser of `loss_type`."""
        return normalised(
            per_token,
            inputs["loss_mask"],
            self.loss_type,
            accumulation=self.current_gradient_accumulation_steps,
            longest=self.max_completion_length,
            share=self.args.steps_per_generation * self.accelerator.num_processes,
            items=inputs["num_items_in_batch"],
        )
