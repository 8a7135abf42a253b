"""Controlled studies as they are written in studies/: every one is sound, and mistakes are named."""

import copy
from typing import Any

import pytest

from scalinglab import pipeline
from scalinglab.errors import UserError
from scalinglab.theory.course import OTHER, by_lecture
from scalinglab.theory.protocol import protocol_of, study_of
from tests.conftest import ROOT


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(ROOT)
    return copy.deepcopy(pipeline.all_params())


def test_every_variant_of_every_study_is_a_sound_study(params: dict[str, Any]) -> None:
    assert params["theory"]
    for name in params["theory"]:
        protocol = protocol_of(params, name)
        assert len(protocol.seeds) >= 5, "the protocol asks for five paired seeds"
        assert len(protocol.quick.seeds) >= 3
        studies = {variant: study_of(params, protocol, variant) for variant in protocol.variants}
        for form in (protocol, protocol.shortened()):
            study_of(params, form, protocol.reference)
        assert len({str(study) for study in studies.values()}) == len(studies), f"{name}: two variants are the same"


def test_changes_lie_over_params_and_leave_the_rest(params: dict[str, Any]) -> None:
    study = study_of(params, protocol_of(params, "positions"), "alibi")
    assert (study.model.position, study.model.token_shift) == ("alibi", False)
    assert study.model.norm == params["model"]["norm"]
    assert params["model"]["position"] == "rope"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reference": "rop"}, r"reference = 'rop': no such variant; known: rope, learned"),
        ({"margin": -1}, r"studies/positions\.yaml: margin"),
        ({"seeds": [1, 1, 2]}, r"seeds = \[1, 1, 2\]: repeats a seed"),
        ({"seeds": [0, 1, 2]}, r"seeds"),
        ({"variants": {"rope": {}, "$(touch x)": {}}}, r"studies/positions\.yaml: variants"),
        ({"tokens": "many"}, r"'many' is not a number of tokens"),
        ({"tokens": "40k"}, r"tokens = 40k: training\.warmup_tokens = \d+ must end before the rate decays"),
        ({"base": {"mixture": {"skill_share": 0}}}, r"section 'mixture': every variant is trained on the data"),
        ({"colour": "red"}, r"colour"),
        ({"base": {"model": {"norms": "x"}}}, r"variant rope: model\.norms"),
    ],
)
def test_mistakes_are_named(params: dict[str, Any], change: dict[str, Any], said: str) -> None:
    params["theory"]["positions"] |= change
    with pytest.raises(UserError, match=said):
        study_of(params, protocol_of(params, "positions"), "rope")


def test_unknown_names_list_the_known_ones(params: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"no controlled study 'poitions'; known: attention_kinds, attent"):
        protocol_of(params, "poitions")
    with pytest.raises(UserError, match=r"variant 'rotary': no such variant; known: rope, learned, sinusoidal"):
        study_of(params, protocol_of(params, "positions"), "rotary")


def test_every_question_has_its_place_in_the_course(params: dict[str, Any]) -> None:
    assert OTHER not in by_lecture([*params["theory"], *params["measured"]])
