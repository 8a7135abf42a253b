"""What the README says of in-context learning and emergence, from the results (see update_readme.py)."""

import pandas as pd
from reliability import ROOT, read


def skills_lines(study: str) -> list[str]:
    """For each skill: where it is had, over seeds, whether as a threshold, and whether loss alone decides."""
    emergence = read(f"results/{study}/emergence/emergence.json")
    seeds = pd.read_csv(ROOT / f"results/{study}/emergence/seeds.csv")
    collapse = {(row["skill"], row["length"]): row for row in emergence["collapse"]}
    claims = {(row["skill"], row["length"]): row for row in emergence["claims"]}
    lines = []
    for row in emergence["skills"]:
        key = (row["skill"], row["length"])
        if row["length"] != 1:
            continue
        claim = claims[key]
        had = seeds[(seeds["skill"] == key[0]) & (seeds["length"] == 1)]
        outcomes = ", ".join(f"{r.had}/{r.seeds} at {r.budget}" for r in had.itertuples())
        lines.append(
            f"* `{row['skill']}`: {row['cells_near_floor']} of {row['cells']} cells lie near the floor, "
            f"{row['cells_near_bayes']} near the Bayes optimum; first had by {row['first_cell']}. Seeds that have it "
            f"at width {had['width'].iloc[0]}: {outcomes}. Of {claim['trunks']} trunks, {claim['threshold']} show a "
            f"threshold, {claim['smooth']} smooth growth, {claim['undecided']} are undecided, and for "
            f"{claim['not_measurable']} it is not measurable with these budgets; {claim['breakthroughs']} pass as "
            f"breakthroughs beyond noise, steady and smooth growth. Whether the next budget would have it was told "
            f"right by the law of the budgets before it {claim['onset_law_right']} of {claim['onset_asked']} times "
            f"(always yes: {claim['onset_next']}, always no: {claim['onset_asked'] - claim['onset_next']}). Skill "
            f"against loss: {collapse[key]['verdict']}."
        )
    return lines


def _flips(prompts: pd.DataFrame, size: str, budgets: list[str], skill: str) -> str:
    """How often orders disagree where that is most often, and at the largest budget."""
    share = {budget: prompts.loc[(size, budget, skill, "order", "certain", "flips", 8), "value"] for budget in budgets}
    worst = max(budgets, key=lambda budget: share[budget])
    text = f"in {100 * share[worst]:.1f} % of questions of `{skill}` after {worst} tokens (the most)"
    return text if worst == budgets[-1] else f"{text} and {100 * share[budgets[-1]]:.1f} % after {budgets[-1]}"


def prompts_lines(study: str) -> list[str]:
    """Labels, order and text: the widest model after its second budget and its largest."""
    cells = pd.read_csv(ROOT / f"results/{study}/table/cells.csv")
    widest = cells[cells["width"] == cells["width"].max()].sort_values("tokens")
    size, budgets = widest["size"].iloc[0], widest["budget"].tolist()
    prompts = pd.read_csv(ROOT / f"results/{study}/table/prompts.csv").set_index(
        ["size", "budget", "skill", "test", "condition", "measure", "k"]
    )
    text = pd.read_csv(ROOT / f"results/{study}/table/text.csv", dtype={"at": str})
    seq_len = int(text.loc[text["measure"] == "gain", "at"].iloc[0])
    text = text.set_index(["size", "budget", "measure", "at"])
    young, old = ((size, budgets[i]) for i in (1, -1))
    flipped = ("prior", "labels", "flipped", "canonical", 8)
    gain = [text.loc[(*cell, "gain", str(seq_len)), "value"] for cell in (young, old)]
    seen, new = (text.loc[(*old, "own_half", at), "value"] for at in ("seen", "new"))
    first, second = (text.loc[(*old, "induction", at), "value"] for at in ("first", "second"))
    return [
        f"* Labels flipped in 8 examples of prior mapping: the label that the weights know keeps a probability of "
        f"{prompts.loc[(*young, *flipped), 'value']:.2f} in {size} after {budgets[1]} tokens, and "
        f"{prompts.loc[(*old, *flipped), 'value']:.3f} after {budgets[-1]} (Bayes optimum: "
        f"{prompts.loc[(*old, *flipped), 'bayes']:.3f}).",
        f"* Where the answer can be known, two orders of the same 8 examples give {size} different ones "
        + "; ".join(_flips(prompts, size, budgets, skill) for skill in ("recall", "shift", "prior"))
        + ". The Bayes optimum never minds.",
        f"* On plain text, {size} gains {-gain[0]:.2f} nats a token from the first to the last quarter of its context "
        f"after {budgets[1]} tokens, {-gain[1]:.2f} after {budgets[-1]}. Against another text's first half, its own "
        f"then saves {seen:.2f} nats on tokens that complete a bigram of it and {new:.2f} on the others; random tokens "
        f"cost {first:.2f} nats the first time and {second:.2f} when they are repeated.",
    ]


def recall_attention_line() -> str:
    """Softmax and linear attention on recall, at the best rate of several."""
    record = read("benchmarks/results/recall_attention.json")
    table = pd.DataFrame(record["table"]).dropna()
    best = table.groupby(["pairs", "attention", "seed"])["accuracy"].max()

    def seeds(pairs: int, attention: str) -> str:
        return " and ".join(f"{value:.2f}" for value in best[pairs, attention])

    return (
        f"* Multi-query recall at width {record['width']}, each attention at its best rate, by seed: of 8 pairs "
        f"softmax answers {seeds(8, 'causal')}, linear attention {seeds(8, 'linear')}; of 32 pairs "
        f"{seeds(32, 'causal')} against {seeds(32, 'linear')} (Arora et al. 2023)."
    )
