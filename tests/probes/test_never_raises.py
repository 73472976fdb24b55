"""Nothing of the probe gets into training: not its errors, not its warnings; and Ctrl-C is recorded as what it is."""

import json
import signal
import warnings

import pytest
import torch
from datasets import Dataset
from simko.probes import Probe
from simko.probes.recording.guard import was_interrupted
from transformers import Trainer, TrainingArguments


@pytest.fixture
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-2)


def status(run_dir):
    lines = (run_dir / "manifest/001-000.jsonl").read_text().splitlines()
    return json.loads(lines[-1])["status"]


@pytest.mark.usefixtures("warnings_are_errors")
def test_an_error_where_warnings_are_errors(llama, batch, memory, tmp_path, capsys):
    model, plain = llama(), llama()
    probe = Probe.attach(model, tmp_path, recorder=memory)

    def broken(_batch):
        raise OSError("gone")

    memory.put = broken
    for one in (model, plain):
        optimizer = adamw(one)
        for _ in range(2):
            one(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    assert not probe.active and probe.errors == 1
    assert capsys.readouterr().err.count("the probe is switched off, training goes on: OSError: gone") == 1
    for result, expected in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(result, expected)
    probe.close()


@pytest.mark.usefixtures("warnings_are_errors")
def test_nothing_seen_where_warnings_are_errors(llama, memory, tmp_path, capsys):
    model = llama().eval()
    probe = Probe.attach(model, tmp_path, recorder=memory)
    optimizer = adamw(model)
    optimizer.step()
    optimizer.step()
    assert probe.active
    assert capsys.readouterr().err.count("call model.train()") == 1


class Unhashable(torch.nn.Module):
    """A model whose parameters cannot be listed any more, as after a resharding gone wrong."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(11, 11)
        self.broken = False

    def forward(self, input_ids):
        return self.table(input_ids)

    def parameters(self, recurse=True):
        if self.broken:
            raise RuntimeError("no parameters here")
        return super().parameters(recurse)


def test_the_clock_does_not_raise_into_the_optimizer(memory, tmp_path):
    model = Unhashable().train()
    probe = Probe.attach(model, tmp_path, recorder=memory)
    optimizer = adamw(model)
    model.broken = True
    with pytest.warns(RuntimeWarning, match="no parameters here"):
        optimizer.step()
    assert not probe.active


def test_a_head_that_will_not_go_does_not_stop_the_end(llama, batch, tmp_path):
    model = llama()
    probe = Probe.attach(model, tmp_path / "run")
    model(**batch)

    def stuck():
        raise RuntimeError("stuck")

    probe.clock.remove = stuck
    with pytest.warns(RuntimeWarning, match="stuck"):
        probe.close()
    assert status(tmp_path / "run") == "finished"


# Ctrl-C


def test_ctrl_c_while_the_probe_works(llama, batch, tmp_path):
    model = llama()
    # A suite that a shell runs in the background inherits "ignore"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def train():
        with Probe.attach(model, tmp_path / "run") as probe:
            model(**batch)
            put = probe.recorder.put

            def interrupted(made):
                put(made)
                signal.raise_signal(signal.SIGINT)

            probe.recorder.put = interrupted
            model(**batch)

    try:
        with pytest.raises(KeyboardInterrupt):
            train()
    finally:
        signal.signal(signal.SIGINT, before)
    assert status(tmp_path / "run") == "interrupted"


def test_ctrl_c_that_a_library_turned_into_another_error(llama, batch, tmp_path):
    model = llama()

    def train():
        with Probe.attach(model, tmp_path / "run"):
            model(**batch)
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt as error:  # as a DataLoader whose workers the same Ctrl-C ended
                raise RuntimeError("DataLoader worker exited unexpectedly") from error

    with pytest.raises(RuntimeError, match="worker"):
        train()
    assert status(tmp_path / "run") == "interrupted"


def test_an_error_that_goes_in_a_circle_is_no_interruption():
    one, other = RuntimeError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert not was_interrupted(one)


# Labels that the trainer keeps to itself


def rows():
    torch.manual_seed(0)
    ids = torch.randint(3, 61, (8, 7))
    labels = ids.clone()
    labels[:, :3] = -100
    return Dataset.from_dict({"input_ids": ids.tolist(), "labels": labels.tolist()})


def trainer(model, folder, **options):
    loss = options.pop("compute_loss_func", None)
    args = TrainingArguments(
        output_dir=str(folder),
        max_steps=1,
        per_device_train_batch_size=4,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        **options,
    )
    return Trainer(model=model, args=args, train_dataset=rows(), compute_loss_func=loss)


def mean(outputs, labels, num_items_in_batch=None):
    return outputs.logits.float().mean()


@pytest.mark.parametrize("setting", [{"label_smoothing_factor": 0.1}, {"compute_loss_func": mean}])
def test_labels_taken_out_of_the_batch_are_warned_about(llama, memory, tmp_path, setting):
    of = trainer(llama(), tmp_path / "out", **setting)
    probe = Probe.attach(of.model, tmp_path, recorder=memory)
    with pytest.warns(RuntimeWarning, match=f"the trainer's {next(iter(setting))} takes the labels out of the batch"):
        of.train()
    assert not probe.active and not memory.batches


def test_a_trainer_that_leaves_the_labels_in_is_logged(llama, memory, tmp_path):
    of = trainer(llama(), tmp_path / "out")
    probe = Probe.attach(of.model, tmp_path, recorder=memory)
    of.train()
    assert probe.active and memory.batches[0].mask.sum(1).tolist() == [4] * 4
