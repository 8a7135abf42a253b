"""The schema: presets are valid, and each kind of mistake is one line with the value and the fix."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scalinglab import config
from scalinglab.errors import UserError
from tests.conftest import ROOT

PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


def values(name: str = "laptop") -> dict[str, Any]:
    return yaml.safe_load((ROOT / f"presets/{name}.yaml").read_text())


def changed(path: str, value: Any) -> dict[str, Any]:
    whole = values()
    *parents, last = path.split(".")
    part = whole
    for name in parents:
        part = part[name]
    part[last] = value
    return whole


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_preset_is_valid_and_documents_every_knob(path: Path) -> None:
    assert config.load(path).study == path.stem
    lines = path.read_text().splitlines()
    for above, line in zip(["", *lines], lines, strict=False):
        is_knob = ":" in line and not line.strip().startswith(("#", "- {")) and not line.strip().endswith(":")
        in_list = "dpi:" in line or "- name" in line or line.startswith("      ")
        assert not is_knob or in_list or "#" in line + above, f"no comment on {line!r}"


def test_laptop_grid_is_wide_enough() -> None:
    study = config.load(ROOT / "presets/laptop.yaml")
    widths = sorted({config.width_of(size) for size in study.grid.sizes})
    tokens = [config.tokens_of(budget) for budget in study.grid.budgets]
    assert len(widths) >= 5
    assert widths[-1] / widths[0] >= 16
    assert len(tokens) >= 5
    assert tokens[-1] / tokens[0] >= 16
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(tokens))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("training.epss", 1, "training.epss: unknown key; did you mean 'eps'"),
        ("studdy", "x", "studdy: unknown key; did you mean 'study'"),
        ("training.eps", -1, "training.eps = -1"),
        ("grid.sizes", [], "grid.sizes = []"),
        ("tune.sizes", ["d48"], "tune.sizes: d48: heads of 32 do not divide the width 48"),
        ("tune.rates", [0.1, 0.01, 0.2], "list rates in growing order"),
        ("tune.rates", [0.1, 0.2], "a best rate between others takes three or more"),
        ("tune.budget", "10k", "must end before the rate decays; take a larger budget"),
        ("grid.sizes", ["d48"], "heads of 32 do not divide the width 48"),
        ("grid.sizes", ["big"], "'big' is not a width"),
        ("grid.sizes", ["d64", "d64"], "repeats a label"),
        ("grid.budgets", ["400k", "lots"], "'lots' is not a number of tokens"),
        ("grid.budgets", ["800k", "400k"], "growing order"),
        ("grid.budgets", ["400k"], "grid.segments does not follow grid.budgets"),
        ("model.active_experts", 9, "model.active_experts = 9: more than model.experts = 8; lower it"),
        ("model.kv_groups", 3, "model.kv_groups = 3 does not divide"),
        ("training.batch_tokens", 1000, "training.batch_tokens = 1000"),
        ("training.precision", "fp8", "training.precision = 'fp8': input should be 'fp32', 'bf16' or 'fp16'"),
        ("training.loss_scale", 1024, "training.loss_scale = 1024: fp32 reaches down to 1e-38"),
        ("training.loss_scale", -1, "training.loss_scale = -1"),
        ("training.loss_scale_interval", 50, "training.loss_scale_interval = 50: there is no scale that could double"),
        ("training.warmup_tokens", 400_000, "training.warmup_tokens = 400000"),
        ("shots.ks", [0, 32], "32 examples do not fit"),
        ("shots.ks", [], "shots.ks = []"),
        ("emergence.k", 3, "emergence.k = 3: not in shots.ks"),
        ("emergence.exact_lengths", [33], "33 is above 32"),
        ("mixture.skills", [], "name skills, or set mixture.skill_share to 0"),
        ("mixture.skills", ["juggling"], "unknown skill 'juggling' in mixture.skills; known: recall"),
        ("mixture.skills", [{"name": "recall", "keys": 300}], "skill recall needs 325; raise it, or drop the skill"),
        ("tokenizer.skill_symbols", 8, "tokenizer.skill_symbols = 8: skill recall needs 41"),
        ("mixture.seq_len", 63, "mixture.seq_len = 63"),
        ("mixture.validation_tokens", 10, "less than one row"),
        ("study", "../escape", "study = '../escape'"),
        ("execution.device", "tpu", "execution.device = 'tpu'"),
    ],
)
def test_mistake_names_the_value(path: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        config.parse(changed(path, value))
    assert message in str(caught.value)


def test_a_loss_scale_that_would_divide_away_the_balance_of_experts_is_refused() -> None:
    whole = values("laptop")
    whole["training"] |= {"precision": "fp16", "loss_scale": 1024}
    whole["model"]["feed_forward"] = "experts"
    with pytest.raises(
        UserError, match=r"training\.loss_scale = 1024: the loss that balances experts enters behind it"
    ):
        config.parse(whole)
    whole["model"]["balance"] = 0
    assert config.parse(whole).training.loss_scale == 1024


def test_two_formats_for_the_same_steps_are_refused() -> None:
    whole = values("gpu")
    assert whole["execution"]["precision"] == "bf16"
    whole["training"]["precision"] = "fp16"
    with pytest.raises(UserError, match=r"training\.precision = 'fp16': execution\.precision = 'bf16' names another"):
        config.parse(whole)
    whole["execution"]["precision"] = "fp32"
    assert config.parse(whole).training.precision == "fp16"


def test_missing_key_says_where_to_find_it() -> None:
    whole = values()
    del whole["training"]["eps"]
    with pytest.raises(UserError, match=r"training\.eps: missing; copy the line from presets/laptop.yaml"):
        config.parse(whole)


def test_a_mistyped_key_is_one_mistake() -> None:
    whole = values()
    whole["training"]["epss"] = whole["training"].pop("eps")
    with pytest.raises(UserError) as caught:
        config.parse(whole)
    assert str(caught.value) == "params.yaml: training.epss: unknown key; did you mean 'eps'?"


def test_wrong_segments_error_prints_the_right_ones() -> None:
    whole = values()
    whole["grid"]["budgets"].append("12800k")
    with pytest.raises(UserError) as caught:
        config.parse(whole)
    whole["grid"]["segments"] = yaml.safe_load(str(caught.value).split("must read\n")[1])
    assert config.parse(whole).grid.budgets[-1] == "12800k"


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_arbitrary_values_never_crash(anything: Any) -> None:
    with pytest.raises(UserError):
        config.parse(anything)


def test_labels() -> None:
    assert (config.width_of("d64"), config.seed_of("d64")) == (64, 0)
    assert (config.width_of("d64s2"), config.seed_of("d64s2")) == (64, 2)
    assert [config.tokens_of(budget) for budget in ("512", "400k", "2M", "1G")] == [512, 400_000, 2 * 10**6, 10**9]
