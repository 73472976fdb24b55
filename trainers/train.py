"""One training run from options to its end: task, model, trainer, probe, evaluation; what `simko-train` calls.

The order matters: everything that a person can get wrong (model, data set, hyper-parameters, run folder) is checked
before the first step, and from then on the run's folder is readable whatever happens. SIGTERM is treated like Ctrl-C.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers.utils.logging import disable_progress_bar

from ..probes.probe import NullProbe, Probe
from ..probes.recording.guard import was_interrupted
from ..store.errors import SimkoError, UsageError
from ..store.layout.run import claim_folder
from ..store.maintenance.compaction import compact
from ..store.writing.row_sampling import LoggedRows
from .checks import check_evaluation, check_ranks, model_name, other_number_of_processes, sharding_not_given
from .engine.callbacks import PassAtKCallback
from .engine.checkpoints import (
    checkpoint_to_resume,
    has_every_step,
    newer_than,
    newest_whole,
    set_aside_newer,
    step_of,
    without_random_state,
)
from .engine.dynamic_sampling import check_groups
from .engine.ending import interrupted_by_sigterm, lost_rank, wait_for_everyone
from .engine.micro_batches import steps_per_rollout
from .engine.nan_guard import Diverged, NaNGuard, cannot_sample
from .engine.progress import Progress, replace_progress
from .engine.rewards import TaskReward
from .engine.sampler import sampler_description
from .engine.sampler_parity import SamplerParity
from .engine.saving import saving
from .engine.trainer import RankedGRPOTrainer
from .evaluation.during_training import HeldoutPassAtK
from .models.loading import load_model
from .models.lora import lora_config
from .models.shared_prompts import share_prompts
from .models.stopping import end_at_stop
from .options.arguments import RunArguments
from .options.methods import check_group, check_loss, objective_of
from .options.parsing import SimkoConfig
from .options.run_description import run_description
from .tasks import Task, check_task, task_for

Status = Literal["finished", "interrupted", "diverged", "failed"]


@dataclass(frozen=True)
class Training:
    """How a training ended, for the command to report.

    Attributes:
        status: `finished`, `interrupted` by Ctrl-C or SIGTERM, or `diverged`: a figure turned NaN or infinite.
        run_dir: the run's folder.
        reason: which figure, and when.
        step: optimizer steps made.
        resumable_step: the step of the newest whole checkpoint, or None.
        rollout_steps: optimizer steps per rollout batch: the window that Λ(k) is averaged over.
        probed: whether there is a log to read.
        speaks: whether this process is the one that reports.
    """

    status: Status
    run_dir: Path
    reason: str
    step: int
    resumable_step: int | None
    rollout_steps: int
    probed: bool
    speaks: bool


def train(run: RunArguments, config: SimkoConfig) -> Training:
    """Train and log.

    Raises:
        SimkoError: an option, the model, the data set or the run's folder is not usable, and nothing has been trained;
            or the model or a checkpoint cannot be saved.
    """
    rows = LoggedRows(run.probe_every, run.probe_response_fraction, run.probe_precision, config.seed)
    _agree_on_folder(config)
    run_dir = Path(str(config.output_dir))
    if config.process_index == 0:
        claim_folder(run_dir, resume=run.resume is not None)
    check_task(run.task or "countdown")
    checkpoint = _checkpoint(run, config)
    _quiet(config)
    adapters = lora_config(run.lora_r, run.lora_alpha, run.lora_target_modules)
    if config.process_index == 0 and (told := other_number_of_processes(run, config.world_size)):
        print(f"note: {told}", file=sys.stderr)
    model, tokenizer = load_model(model_name(run), **(config.model_init_kwargs or {}))
    if run.share_prompts:
        share_prompts(model, checkpointing=config.gradient_checkpointing, processes=config.world_size)
    objective, rounds = objective_of(run), run.dynamic_sampling_rounds or 1
    check_ranks(run, objective, model.config.get_text_config().vocab_size)
    check_group(run, int(config.num_generations or 0))
    check_loss(run, config.loss_type)
    if rounds > 1:
        check_groups(config.per_device_train_batch_size * config.steps_per_generation, int(config.num_generations or 1))
    task = task_for(
        run.task or "countdown",
        dataset=run.dataset,
        eval_dataset=run.eval_dataset,
        tokenizer=tokenizer,
        prompt_style=run.prompt_style,
        options=run.task_options,
    )
    end_at_stop(model, tokenizer, task.stop)
    check_evaluation(run, task)
    if torch.get_num_threads() > 1 and model.num_parameters() < 2_000_000 and not torch.cuda.is_available():
        torch.set_num_threads(1)  # a tiny model's operations are shorter than waking a second thread

    with TaskReward(task, tokenizer) as reward:
        trainer = RankedGRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=config,
            train_dataset=task.train,
            processing_class=tokenizer,
            objective=objective,
            rounds=rounds,
            peft_config=adapters,
        )
        if config.process_index == 0 and (
            told := sharding_not_given(os.environ, trainer.accelerator.distributed_type.value)
        ):
            print(f"note: {told}", file=sys.stderr)
        trainer.watch_for_nan(NaNGuard(run.on_nan, trainer.accelerator))
        trainer.watch_sampler(SamplerParity(run.sampler_gap, run.on_sampler_gap, trainer.accelerator))
        progress = replace_progress(trainer)
        probe = _attach_probe(run, config, trainer, task, run_dir, checkpoint, rows)
        trainer.attach(probe, rescore=run.probe_rescore)
        if run.pass_at_k_steps:
            measure = HeldoutPassAtK(
                trainer,
                task,
                probe,
                progress.say,
                split=run.pass_at_k_split,
                samples=run.pass_at_k_samples or 0,
                limit=run.pass_at_k_problems,
            )
            trainer.add_callback(PassAtKCallback(measure, run.pass_at_k_steps))
        return _run(trainer, probe, progress, run, run_dir, checkpoint)


def _agree_on_folder(config: SimkoConfig) -> None:
    """Every process takes the first one's run name: the default one holds the time, which they may read differently."""
    if config.world_size > 1:
        from accelerate.utils import broadcast_object_list

        config.run_name, config.output_dir = broadcast_object_list([config.run_name, config.output_dir])


def _checkpoint(run: RunArguments, config: SimkoConfig) -> Path | None:
    if config.resume_from_checkpoint is not None:
        raise UsageError(f"--resume_from_checkpoint is --resume here: --resume {config.resume_from_checkpoint}")
    if run.resume is None:
        return None
    checkpoint, passed_over = checkpoint_to_resume(run.resume)
    if has_every_step(checkpoint, config.max_steps, config.num_train_epochs) and newer_than(checkpoint):
        raise UsageError(
            f"--resume {run.resume}: nothing is left to train from step {step_of(checkpoint)}, and the run has gone "
            "further; give a larger --max_steps, or --resume the run's newest checkpoint"
        )
    if config.process_index == 0:
        for line in passed_over:
            print(f"{line}; continuing from step {step_of(checkpoint)}", file=sys.stderr)
        if told := without_random_state(checkpoint, config.world_size):
            print(f"note: {told}", file=sys.stderr)
    return checkpoint


def _go_on(trainer: RankedGRPOTrainer, progress: Progress, checkpoint: Path) -> None:
    """Train from a checkpoint; the last one of a run has nothing to add, where the trainer would make one step more."""
    _rewind(trainer, progress, checkpoint)
    if not has_every_step(checkpoint, trainer.args.max_steps, trainer.args.num_train_epochs):
        trainer.train(resume_from_checkpoint=str(checkpoint))
        return
    progress.say(f"all {step_of(checkpoint)} steps are done; a larger --max_steps goes on from here")
    trainer._load_from_checkpoint(str(checkpoint))
    trainer.state.global_step = step_of(checkpoint)


def _rewind(trainer: RankedGRPOTrainer, progress: Progress, checkpoint: Path) -> None:
    """Take what lies beyond the checkpoint out of the way, once every process has chosen it."""
    trainer.accelerator.wait_for_everyone()
    if trainer.accelerator.is_main_process and (moved := set_aside_newer(checkpoint)):
        names = ", ".join(path.name for path in moved)
        progress.say(f"continuing from step {step_of(checkpoint)}; newer checkpoints now in {moved[0].parent}: {names}")


def _attach_probe(
    run: RunArguments,
    config: SimkoConfig,
    trainer: RankedGRPOTrainer,
    task: Task,
    run_dir: Path,
    checkpoint: Path | None,
    rows: LoggedRows,
) -> Probe | NullProbe:
    if not run.probe:
        return NullProbe()
    return Probe.attach(
        trainer.model,
        run_dir,
        k=run.probe_k,
        temperature=config.temperature,
        tau=0.8 if run.probe_tau is None else run.probe_tau,
        tokenizer=trainer.processing_class,
        info=run_description(run, config, trainer.objective, model=model_name(run), task=task.name)
        | {"sampler": sampler_description(trainer)},
        resume=run.resume is not None,
        change_meaning=run.probe_change,
        start_step=0 if checkpoint is None else step_of(checkpoint),
        rows=rows,
    )


def _run(
    trainer: RankedGRPOTrainer,
    probe: Probe | NullProbe,
    progress: Progress,
    run: RunArguments,
    run_dir: Path,
    checkpoint: Path | None,
) -> Training:
    status: Status = "failed"
    reason = ""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with interrupted_by_sigterm():
            if checkpoint is None:
                trainer.train()
            else:
                _go_on(trainer, progress, checkpoint)
            with saving("the model", run_dir / "model", run_dir=run_dir, logged=run.probe):
                trainer.save_model(str(run_dir / "model"))
        status = "finished"
    except KeyboardInterrupt:
        status = "interrupted"
    except Diverged as error:
        status, reason = "diverged", str(error)
    except RuntimeError as error:
        if was_interrupted(error):
            status = "interrupted"
        elif lost := lost_rank(error, run_dir):
            raise lost from error
        elif cannot_sample(error):
            step = trainer.state.global_step
            status, reason = "diverged", f"step {step}: the policy's probabilities are NaN or infinite"
        else:
            raise
    finally:
        probe.close(status)
        signal.signal(signal.SIGTERM, handler)
    if status == "finished":
        wait_for_everyone(trainer.accelerator, run_dir)  # whoever reports reads what every process has written
        if run.probe and run.probe_compact and trainer.accelerator.is_main_process:
            _compact(run_dir, progress)
    saved, _ = newest_whole(run_dir)
    return Training(
        status,
        run_dir,
        reason,
        step=trainer.state.global_step,
        resumable_step=step_of(saved) if saved else None,
        rollout_steps=steps_per_rollout(trainer.args),
        probed=run.probe,
        speaks=trainer.accelerator.is_main_process,
    )


def _compact(run_dir: Path, progress: Progress) -> None:
    try:
        for line in compact(run_dir).left:
            progress.say(f"left alone: {line}")
    except SimkoError as error:  # the run is whole without it
        progress.say(f"the log's files stay as they are: {error}")


def _quiet(config: SimkoConfig) -> None:
    """Leave the terminal to our lines: libraries' notices about defaults we chose on purpose are not the user's."""
    if config.log_level == "passive" and os.environ.get("TRANSFORMERS_VERBOSITY") is None:
        logging.getLogger("transformers").setLevel(logging.ERROR)
        logging.getLogger("trl").setLevel(logging.ERROR)
        disable_progress_bar()  # of loading and saving weights; training has its own
