"""verl's engines and micro-batches on the CPU, made of verl's own classes and data structures."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from verl import DataProto
from verl.trainer.config import CheckpointConfig
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPActorConfig, FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
from verl.workers.engine import EngineRegistry
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import left_right_2_no_padding

PROMPTS = ([3, 4], [5], [6, 7, 8], [9])
RESPONSES = ([10, 11, 12, 2], [13, 14], [4, 4, 2], [15, 16, 17, 18, 2])
REWARDS = (1.0, 0.0, 1.0, 0.0)
FLOAT32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}


def engine(checkpoint: Any, *, strategy: str = "fsdp2", packed: bool = True, steps: int = -1, **model: Any) -> Any:
    """What verl's registry gives for a language model in this process."""
    result = EngineRegistry.new(
        model_type="language_model",
        backend=strategy,
        model_config=HFModelConfig(
            path=str(checkpoint),
            override_config={"attn_implementation": "sdpa"},
            use_remove_padding=packed,
            enable_gradient_checkpointing=False,
            **model,
        ),
        engine_config=FSDPEngineConfig(
            strategy=strategy, use_torch_compile=False, model_dtype="fp32", mixed_precision=FLOAT32
        ),
        optimizer_config=FSDPOptimizerConfig(lr=1e-2, total_training_steps=steps, clip_grad=1e9),
        checkpoint_config=CheckpointConfig(),
    )
    result.initialize()
    return result


def actor(**settings: Any) -> Any:
    """The actor's configuration."""
    return FSDPActorConfig(
        strategy="fsdp2", rollout_n=2, ppo_mini_batch_size=4, ppo_micro_batch_size_per_gpu=2, use_dynamic_bsz=False,
        **settings,
    )  # fmt: skip


def loss(config: Any = None) -> Any:
    """The policy loss as verl's worker makes it."""
    return functools.partial(ppo_loss, config=actor() if config is None else config)


def dense_batch(old: torch.Tensor | None = None, advantages: Any = None, rewards: Any = REWARDS) -> DataProto:
    """Four responses to two prompts, padded on both sides as the older trainer has them."""
    count, before, after = len(PROMPTS), max(map(len, PROMPTS)), max(map(len, RESPONSES))
    prompts = torch.zeros(count, before, dtype=torch.long)
    responses, mask = torch.zeros(count, after, dtype=torch.long), torch.zeros(count, after, dtype=torch.long)
    attention = torch.zeros(count, before + after, dtype=torch.long)
    for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        prompts[i, before - len(prompt) :] = torch.tensor(prompt)
        responses[i, : len(response)] = torch.tensor(response)
        mask[i, : len(response)] = 1
        attention[i, before - len(prompt) : before + len(response)] = 1
    scores = torch.zeros(count, after)
    for i, reward in enumerate(rewards):
        scores[i, len(RESPONSES[i]) - 1] = reward
    credit = torch.tensor([1.0, -1.0, 0.7, -0.7] if advantages is None else advantages)
    tensors = {
        "prompts": prompts,
        "responses": responses,
        "response_mask": mask,
        "attention_mask": attention,
        "input_ids": torch.cat([prompts, responses], 1),
        "position_ids": (attention.cumsum(1) - 1).clamp(min=0),
        "token_level_scores": scores,
        "token_level_rewards": scores.clone(),
        "old_log_probs": torch.zeros(count, after) if old is None else old,
        "advantages": credit.unsqueeze(1) * mask if credit.dim() == 1 else credit,
        "returns": torch.tensor(rewards).unsqueeze(1) * mask,
    }
    return DataProto.from_dict(tensors, non_tensors={"uid": np.array(["a", "a", "b", "b"], dtype=object)})


def mini_batch(
    dense: DataProto, *, packed: bool = True, nested: bool = False, temperature: float = 1.0, micro: int = 2,
    entropy: bool = True,
) -> Any:  # fmt: skip
    """A mini-batch as it reaches the engine: from the older trainer, or `nested` as from the newer one."""
    data = left_right_2_no_padding(dense.to_tensordict())
    if nested:
        lengths = data["response_mask"].sum(1).tolist()
        before = data["prompts"].size(1)
        starts = (before - data["attention_mask"][:, :before].sum(1)).tolist()
        rows = {"prompts": [row[s:] for row, s in zip(data["prompts"], starts, strict=True)]}
        names = ("responses", "response_mask", "token_level_scores", "token_level_rewards", "old_log_probs")
        for name in (*names, "advantages", "returns"):
            rows[name] = [row[:n] for row, n in zip(data[name], lengths, strict=True)]
        for name, parts in rows.items():
            data[name] = torch.nested.as_nested_tensor(parts, layout=torch.jagged)
        data["loss_mask"] = data["response_mask"]
        data["rm_scores"] = data.pop("token_level_scores")
        del data["attention_mask"], data["max_response_len"], data["max_seq_len"], data["token_level_rewards"]
        tu.assign_non_tensor(data, session_id=[0, 1, 0, 1])
    tu.assign_non_tensor(
        data,
        temperature=temperature,
        calculate_entropy=entropy,
        global_batch_size=len(PROMPTS),
        use_remove_padding=packed,
        use_dynamic_bsz=False,
        micro_batch_size_per_gpu=micro,
        use_fused_kernels=False,
    )
    return data


def worker(checkpoint: Any, *, steps: int) -> Any:
    """verl's training worker, which Ray would run; `RANK` and its like say which one."""
    from verl.workers.config import TrainingWorkerConfig
    from verl.workers.engine_workers import TrainingWorker

    config = TrainingWorkerConfig(
        model_type="language_model",
        model_config=HFModelConfig(
            path=str(checkpoint),
            override_config={"attn_implementation": "sdpa"},
            enable_gradient_checkpointing=False,
        ),
        engine_config=FSDPEngineConfig(
            strategy="fsdp2",
            use_torch_compile=False,
            model_dtype="fp32",
            mixed_precision=FLOAT32,
            use_dynamic_bsz=True,
            max_token_len_per_gpu=12,
            infer_max_token_len_per_gpu=64,
        ),
        optimizer_config=FSDPOptimizerConfig(lr=1e-2, total_training_steps=steps, clip_grad=1e9),
        checkpoint_config=CheckpointConfig(),
    )
    result = TrainingWorker(config)
    result.reset()
    result.set_loss_fn(loss())
    return result


def rollout_batch(rows: list[int], *, mini_batch: int, epochs: int = 1) -> Any:
    """Some of the responses as the newer trainer sends them to a worker's `train_mini_batch`."""
    data = mini_batch_of(rows)
    for name in ("use_dynamic_bsz", "micro_batch_size_per_gpu", "use_fused_kernels", "use_remove_padding"):
        tu.pop(data, name)
    tu.assign_non_tensor(
        data,
        mini_batch_size=mini_batch,
        global_batch_size=mini_batch,
        epochs=epochs,
        seed=1,
        dataloader_kwargs={"shuffle": True},
        compute_loss=True,
    )
    return data


def mini_batch_of(rows: list[int]) -> Any:
    """Some of the responses, nested."""
    return tu.index_select_tensor_dict(mini_batch(dense_batch(), nested=True), rows)


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The gradient of every parameter, whole."""
    return {name: p.grad.full_tensor().clone() for name, p in model.named_parameters() if p.grad is not None}
