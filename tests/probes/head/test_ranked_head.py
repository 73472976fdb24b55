"""The ranked head against TRL's fused head and against the model's own logits."""

import copy

import pytest
import torch
from simko.probes.errors import HeadMismatch, ProbeCannotSee, TooManyCandidates
from simko.probes.head.ranked_head import add_ranked_head
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PhiConfig,
    PhiForCausalLM,
)
from trl.trainer.utils import add_fused_lm_head

SMALL = {
    "vocab_size": 61,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.5,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CHUNK = 4 * 61 * 3  # three rows


def family(name, llama):
    torch.manual_seed(0)
    model = {
        "llama": lambda: llama(),
        "llama tied": lambda: llama(tie_word_embeddings=True),
        "gemma2, soft-capped": lambda: Gemma2ForCausalLM(
            Gemma2Config(**SMALL, final_logit_softcapping=3.0, query_pre_attn_scalar=8)
        ),
        "granite, scaled": lambda: GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=4.0)),
        "cohere, scaled": lambda: CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.3)),
        "gpt2": lambda: GPT2LMHeadModel(
            GPT2Config(vocab_size=61, n_embd=16, n_layer=2, n_head=2, n_positions=32, initializer_range=0.5)
        ),
        "phi, biased": lambda: PhiForCausalLM(PhiConfig(**{k: v for k, v in SMALL.items() if k != "head_dim"})),
    }[name]()
    if name.startswith("phi"):
        torch.nn.init.normal_(model.lm_head.bias)
    return model.eval()  # no dropout: two passes must agree


FAMILIES = ["llama", "llama tied", "gemma2, soft-capped", "granite, scaled", "cohere, scaled", "gpt2", "phi, biased"]


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(result, expected, tolerance=1e-5):
    assert result.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(result[name], gradient, atol=tolerance * float(gradient.abs().max()) + 1e-8, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_equals_trl(name, llama, batch):
    ours = family(name, llama)
    theirs = copy.deepcopy(ours)
    add_fused_lm_head(theirs, temperature=0.8, outputs=("log_probs", "entropy", "log_sum_sq_probs", "is_top1"))
    add_ranked_head(ours, k=4, temperature=0.8, chunk_bytes=CHUNK)
    result, expected = (model(**batch, fused_lm_head=True) for model in (ours, theirs))
    mask = batch["labels"][:, 1:] != -100
    for field in ("log_probs", "entropy", "log_sum_sq_probs"):
        torch.testing.assert_close(getattr(result, field), getattr(expected, field), atol=1e-5, rtol=0)
        assert (getattr(result, field)[~mask] == 0).all()
    assert torch.equal(result.is_top1, expected.is_top1)
    assert torch.equal(result.label_mask, expected.label_mask)
    torch.testing.assert_close(result.loss, expected.loss, atol=1e-5, rtol=0)
    weights = torch.randn(mask.shape, generator=torch.Generator().manual_seed(2))

    def loss(output):
        return (output.log_probs * weights).sum() + (output.entropy * weights.flip(0)).sum()

    assert_same_gradients(gradients(ours, loss(result)), gradients(theirs, loss(expected)))


def test_statistics_are_those_of_the_logits(llama, batch, oracle):
    model = family("gemma2, soft-capped", llama)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1] / 0.8
    add_ranked_head(model, k=4, temperature=0.8)
    stats = model(**batch, ranked=True).stats
    mask = batch["labels"][:, 1:] != -100
    expected = oracle(logits[mask], batch["input_ids"][:, 1:][mask], 4)
    assert torch.equal(stats.mask, mask)
    assert torch.equal(stats.token_id[mask], batch["input_ids"][:, 1:][mask])
    assert torch.equal(stats.top_id[mask], expected["top_id"])
    assert torch.equal(stats.rank[mask], expected["rank"])
    for name in ("logprob", "entropy", "collision", "top_logprob", "logsumexp"):
        torch.testing.assert_close(getattr(stats, name)[mask].double(), expected[name], atol=1e-5, rtol=0)
        assert (getattr(stats, name)[~mask] == 0).all()


def test_gradient_of_the_ranked_candidates(llama, batch):
    model = llama()
    plain = copy.deepcopy(model)
    add_ranked_head(model, k=4, chunk_bytes=CHUNK)
    mask = batch["labels"][:, 1:] != -100
    ours = model(**batch, ranked=True).stats.top_logprob.mean(-1).square().sum()
    logits = plain(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    theirs = logits.log_softmax(-1).topk(4).values.mean(-1)[mask].square().sum()
    assert_same_gradients(gradients(model, ours), gradients(plain, theirs))


def test_chunked_equals_unchunked(llama, batch):
    whole, chunked = llama(), llama()
    add_ranked_head(whole, k=4)
    add_ranked_head(chunked, k=4, chunk_bytes=CHUNK)
    result, expected = chunked(**batch, ranked=True), whole(**batch, ranked=True)
    for name, value in expected.stats._asdict().items():
        torch.testing.assert_close(getattr(result.stats, name), value, atol=1e-5, rtol=0)

    def loss(output):
        return output.stats.logprob.sum() + output.stats.top_logprob.square().sum() + output.entropy.square().sum()

    assert_same_gradients(gradients(chunked, loss(result)), gradients(whole, loss(expected)))


class LargestTensor(TorchDispatchMode):
    """Records the largest number of elements an operation returned."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        for tensor in output if isinstance(output, tuple | list) else [output]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return output


def test_logits_of_all_tokens_never_exist(llama):
    v, chunk_rows = 3000, 8
    model = llama(vocab_size=v)
    add_ranked_head(model, k=4, chunk_bytes=4 * v * chunk_rows)
    ids = torch.randint(3, v, (4, 33))
    with LargestTensor() as largest:
        output = model(input_ids=ids, labels=ids, ranked=True)
        (output.log_probs.sum() + output.stats.top_logprob.sum() + output.entropy.sum()).backward()
    assert model.lm_head.weight.grad is not None
    limit = max(chunk_rows * v, model.lm_head.weight.numel())
    assert limit < 128 * v / 4
    assert largest.elements <= limit


def test_recomputation_calls_the_head_alone(llama, batch, monkeypatch):
    """In backward each chunk costs one more call of the head, none of the statistics."""
    import simko.probes.statistics.eager as eager

    calls = {"head": 0, "statistics": 0}
    model = llama()
    model.lm_head.register_forward_hook(lambda *_: calls.update(head=calls["head"] + 1))
    forward = eager.forward
    monkeypatch.setattr(eager, "forward", lambda *a: (calls.update(statistics=calls["statistics"] + 1), forward(*a))[1])
    add_ranked_head(model, k=4, chunk_bytes=CHUNK, verify=False)
    output = model(**batch, ranked=True)
    chunks = -(-int((batch["labels"][:, 1:] != -100).sum()) // 3)
    assert calls == {"head": chunks, "statistics": chunks}
    output.loss.backward()
    assert calls == {"head": 2 * chunks, "statistics": chunks}


def test_batch_without_scored_tokens_gives_a_differentiable_zero(llama, batch):
    model = llama()
    add_ranked_head(model, k=4)
    output = model(**(batch | {"labels": torch.full_like(batch["labels"], -100)}), ranked=True)
    assert output.loss == 0 and (output.log_probs == 0).all()
    output.loss.backward()
    assert (model.lm_head.weight.grad == 0).all()


def test_shifted_labels_and_token_count(llama, batch):
    model = llama()
    add_ranked_head(model, k=4)
    plain = model(**batch, ranked=True)
    shifted = torch.nn.functional.pad(batch["labels"], (0, 1), value=-100)[:, 1:]
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    output = model(**inputs, shift_labels=shifted, ranked=True, num_items_in_batch=torch.tensor(7))
    torch.testing.assert_close(output.log_probs[:, :-1], plain.log_probs)
    torch.testing.assert_close(output.loss, -plain.log_probs.sum() / 7)


def test_router_loss_equals_trl():
    config = MixtralConfig(
        **{k: v for k, v in SMALL.items() if k != "head_dim"},
        num_local_experts=4,
        num_experts_per_tok=2,
        router_aux_loss_coef=0.1,
    )
    torch.manual_seed(0)
    ours = MixtralForCausalLM(config).eval()
    theirs = copy.deepcopy(ours)
    add_ranked_head(ours, k=3)
    add_fused_lm_head(theirs)
    ids = torch.randint(3, 61, (2, 9))
    call = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids, "output_router_logits": True}
    result, expected = ours(**call, fused_lm_head=True), theirs(**call, fused_lm_head=True)
    assert expected.aux_loss > 0
    torch.testing.assert_close(result.aux_loss, expected.aux_loss)
    torch.testing.assert_close(result.loss, expected.loss)


def test_other_calls_go_to_the_previous_forward(llama, batch):
    model, plain = llama().eval(), llama().eval()
    add_ranked_head(model, k=4)
    result, expected = model(**batch), plain(**batch)
    assert torch.equal(result.logits, expected.logits) and torch.equal(result.loss, expected.loss)
    options = {"max_new_tokens": 5, "do_sample": False, "attention_mask": batch["attention_mask"]}
    generated = [m.generate(batch["input_ids"], **options) for m in (model, plain)]
    assert torch.equal(*generated)
    with pytest.raises(ValueError, match="nonsense"):
        model.generate(batch["input_ids"], nonsense=1, **options)


def test_bfloat16_model_and_autocast(llama, batch):
    reference = llama()
    add_ranked_head(reference, k=4)
    expected = reference(**batch, ranked=True).log_probs
    low = llama().to(torch.bfloat16)
    add_ranked_head(low, k=4, chunk_bytes=CHUNK)
    output = low(**batch, ranked=True)
    assert output.log_probs.dtype == torch.float32
    torch.testing.assert_close(output.log_probs, expected, atol=0.3, rtol=0.05)
    output.loss.backward()
    assert low.lm_head.weight.grad.dtype == torch.bfloat16
    mixed = llama()
    add_ranked_head(mixed, k=4, chunk_bytes=CHUNK)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = mixed(**batch, ranked=True)
    assert output.log_probs.dtype == torch.float32
    output.loss.backward()
    assert mixed.lm_head.weight.grad.dtype == torch.float32


def test_lora_on_the_head(llama, batch):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "lm_head"], init_lora_weights=False)
    model = peft.get_peft_model(llama(), config)
    twin = copy.deepcopy(model)
    add_ranked_head(model, k=4, chunk_bytes=CHUNK)
    result = model(**batch, ranked=True).log_probs
    mask = batch["labels"][:, 1:] != -100
    logits = twin(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    expected = logits.log_softmax(-1).gather(2, batch["input_ids"][:, 1:, None])[..., 0] * mask
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
    assert_same_gradients(gradients(model, result.sum()), gradients(twin, expected.sum()))
    assert any("lm_head.lora_A" in name for name, p in model.named_parameters() if p.grad is not None)


def test_several_users_share_a_head(llama, batch):
    model = llama()
    first = add_ranked_head(model, k=3, temperature=0.8)
    second = add_ranked_head(model, k=6)
    assert second.temperature == 0.8
    assert model(**batch, ranked=True).stats.top_id.size(-1) == 6
    with pytest.raises(HeadMismatch, match=r"temperature 0\.8, not 1"):
        add_ranked_head(model, k=3, temperature=1.0)
    second.remove()
    assert model(**batch, ranked=True).stats.top_id.size(-1) == 3
    first.remove()
    first.remove()
    assert "forward" not in model.__dict__


def test_replaces_the_trainers_head_and_gives_it_back(llama, batch):
    model = llama()
    add_fused_lm_head(model, temperature=0.7, outputs=("log_probs", "entropy"))
    before = model(**batch, fused_lm_head=True)
    with pytest.raises(HeadMismatch, match=r"temperature 0\.7, not 1"):
        add_ranked_head(model, k=3, temperature=1.0)
    head = add_ranked_head(model, k=3)
    assert head.temperature == 0.7
    during = model(**batch, fused_lm_head=True)
    torch.testing.assert_close(during.log_probs, before.log_probs, atol=1e-5, rtol=0)
    assert hasattr(during, "stats")
    head.remove()
    after = model(**batch, fused_lm_head=True)
    assert not hasattr(after, "stats") and torch.equal(after.log_probs, before.log_probs)


def test_survives_being_wrapped_removed_and_added_again(llama, batch):
    model = llama()
    head = add_ranked_head(model, k=3)
    inner = model.forward
    model.forward = lambda *a, **kw: inner(*a, **kw)
    head.remove()
    assert torch.isfinite(model(**batch).loss)
    with pytest.raises(TypeError, match="add_ranked_head"):
        model(**batch, ranked=True)
    add_ranked_head(model, k=5)
    assert model(**batch, ranked=True).stats.top_id.size(-1) == 5


def test_a_copy_runs_on_its_own_parameters(llama, batch):
    model = llama()
    add_ranked_head(model, k=3)
    twin = copy.deepcopy(model)
    twin.lm_head.weight.data.zero_()
    assert (twin(**batch).logits == 0).all()
    assert (twin(**batch, ranked=True).stats.rank[batch["labels"][:, 1:] != -100] == 1).all()


def test_refuses_k_beyond_the_vocabulary(llama):
    for k in (0, 62):
        with pytest.raises(TooManyCandidates, match="between 1 and 61"):
            add_ranked_head(llama(), k=k)


def test_refuses_a_model_without_head(llama):
    with pytest.raises(ProbeCannotSee, match="AutoModelForCausalLM"):
        add_ranked_head(llama().model, k=3)


def test_refuses_a_head_it_does_not_understand(llama):
    class Shifted(type(llama())):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = output.logits + torch.arange(output.logits.size(-1))
            return output

    model = llama()
    model.__class__ = Shifted
    with pytest.raises(HeadMismatch, match="plain loop"):
        add_ranked_head(model, k=3)


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("added_first", [False, True])
def test_under_fsdp2(llama, batch, process_group, added_first, tied):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    plain, model = llama(tie_word_embeddings=tied), llama(tie_word_embeddings=tied)
    add_ranked_head(plain, k=4)
    mesh = init_device_mesh("cpu", (1,))
    if added_first:
        add_ranked_head(model, k=4, chunk_bytes=CHUNK)
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    if not added_first:
        add_ranked_head(model, k=4, chunk_bytes=CHUNK)

    def loss(model):
        stats = model(**batch, ranked=True).stats
        return (stats.logprob + stats.top_logprob.mean(-1)).square().sum()

    result = gradients(model, loss(model))
    assert_same_gradients({n: g.full_tensor() for n, g in result.items()}, gradients(plain, loss(plain)))


def test_refuses_a_vocabulary_split_over_processes(llama, process_group):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    model = llama()
    mesh = init_device_mesh("cpu", (1,), mesh_dim_names=("tp",))
    model.lm_head.weight = torch.nn.Parameter(distribute_tensor(model.lm_head.weight.data, mesh, [Shard(0)]))
    with pytest.raises(ProbeCannotSee, match="tensor parallelism"):
        add_ranked_head(model, k=3)


def test_labels_are_needed(llama, batch):
    model = llama()
    add_ranked_head(model, k=3)
    with pytest.raises(TypeError, match="labels"):
        model(input_ids=batch["input_ids"], ranked=True)


def test_verification_leaves_modes_and_random_numbers_alone(llama):
    model = llama()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    add_ranked_head(model, k=3)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
