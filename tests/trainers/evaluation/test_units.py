"""An evaluation split into units: each response once, whatever the sizes; identity and weights tell what differs."""

from __future__ import annotations

import shutil
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from simko.trainers.evaluation.policies import served_weights, weights_of
from simko.trainers.evaluation.units import identity, split, units
from simko.trainers.models.base_policy import COUNTDOWN_BASE


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 150), st.booleans(), st.integers(1, 700))
def test_every_response_belongs_to_one_unit(problems, samples, exact, size):
    header = {"problems": problems, "settings": {"samples": samples}}
    header |= split(problems, samples, exact=exact, responses=size)
    planned = units(header)
    assert [unit.number for unit in planned] == list(range(header["units"]))
    drawn = Counter(
        (problem, sample)
        for unit in planned
        for problem in range(unit.first, unit.last)
        for sample in range(unit.first_sample, unit.first_sample + unit.samples)
    )
    assert len(drawn) == problems * samples and set(drawn.values()) == {1}
    assert max(unit.responses for unit in planned) <= max(size, 1)
    assert [unit.samples for unit in planned].count(0) == exact
    assert len({unit.seed("b", 0) for unit in planned}) == len(planned)


def test_the_identity_is_of_weights_benchmark_settings_and_seed():
    settings = {"samples": 4, "seed": 0}
    same = identity("w", "b", settings)
    assert same == identity("w", "b", dict(reversed(settings.items())))
    others = [identity("v", "b", settings), identity("w", "c", settings), identity("w", "b", settings | {"seed": 1})]
    assert len({same, *others}) == 4 and len(same) == 12


def test_weights_are_told_apart_by_their_content_and_known_in_another_place(tmp_path):
    copy = shutil.copytree(COUNTDOWN_BASE, tmp_path / "copy")
    assert weights_of(copy) == weights_of(COUNTDOWN_BASE)
    path = copy / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert weights_of(copy) != weights_of(COUNTDOWN_BASE)
    assert weights_of("org/model") != weights_of("org/other") != served_weights("org/other")
