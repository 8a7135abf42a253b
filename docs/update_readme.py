"""Write the README's results block from results/ and benchmarks/results: no number there is typed by hand.

`python docs/update_readme.py` rewrites the block between the markers; `--check` only compares (a test runs it).
"""

import sys
from pathlib import Path
from typing import Any

import in_context
import pandas as pd
import reliability
import theory
import yaml
from reliability import read

ROOT = Path(__file__).parent.parent
START, END = "<!-- results: written by docs/update_readme.py -->", "<!-- end of results -->"
COURSE, END_OF_COURSE = "<!-- course: written by docs/update_readme.py -->", "<!-- end of course -->"


def loss_table(cells: pd.DataFrame) -> list[str]:
    """Held-out bits per byte, widths down, budgets across; the main grid only."""
    main = cells[~cells["size"].str.contains("s")]
    grid = main.pivot(index="width", columns="tokens", values="val/bpb")
    budgets = main.drop_duplicates("tokens").sort_values("tokens")["budget"]
    lines = ["| width | " + " | ".join(budgets) + " |", "|---|" + "---|" * len(budgets)]
    return lines + [f"| {width} | " + " | ".join(f"{v:.3f}" for v in row) + " |" for width, row in grid.iterrows()]


def laws_lines(study: str) -> list[str]:
    """Exponents by estimator and counting, the verdict, the sealed forecast, the multiverse."""
    laws = read(f"results/{study}/laws/laws.json")
    main, inside = laws["conventions"]["matmul"], [m for m in laws["isoflop_minima"] if m["inside"]]
    universes = pd.read_csv(ROOT / f"results/{study}/multiverse/universes.csv").dropna(subset="exponent_n")
    same = universes[universes["counting"] == "matmul"]["exponent_n"]
    everything = universes["exponent_n"]
    score, without = laws["forecast"], laws["conventions"]["non_embedding"]
    forms, best = main["forms"], main["best_form"]
    others = ", ".join(
        f"{name.replace('_', ' ')} {100 * score[f'{name}_mean_relative_error']:.1f} %"
        for name in ("kaplan", "additive", "log_linear", "nearest_run")
    )
    reasons = "; ".join(forms[best]["verdict"]["reasons"])
    verdict = "identified" if forms[best]["verdict"]["identified"] else f"not identified: {reasons}"
    return [
        f"* {len(inside)} of {len(laws['isoflop_minima'])} iso-FLOP minima lie inside the grid. N_opt ~ C^a with a = "
        + ", ".join(f"{value:.2f} {_interval(main, name)} ({name})" for name, value in main["exponents"].items())
        + ", 95 % intervals from whole trunks.",
        f"* Counted without embedding, as Kaplan et al. did, a = {without['exponents']['iso-FLOP']:.2f} "
        f"{_interval(without, 'iso-FLOP')} (iso-FLOP): the gap between Kaplan and Chinchilla, on our own grid.",
        f"* Of two forms with five parameters each, the additive one (Chinchilla's) leaves "
        f"{100 * forms['additive']['rms_relative_error']:.1f} % root mean square error, Kaplan's (L = (A / N^alpha + "
        f"B / D^beta)^gamma) {100 * forms['kaplan']['rms_relative_error']:.1f} %, beside "
        f"{100 * laws['seed_noise']:.1f} % between seeds. Verdict on the better one: {verdict}.",
        f"* {len(universes)} analyses give {everything.min():.2f} to "
        f"{everything.max():.2f}; those with one counting {same.min():.2f} to {same.max():.2f}.",
        f"* Sealed forecast: {score['cells']} cells of the largest budgets, forecast before they were evaluated, with "
        f"{100 * score['forecast_mean_relative_error']:.1f} % mean error by the form that the known cells chose "
        f"({score['form']}); {others}. {100 * score['coverage_95']:.0f} % lie in their 95 % intervals. "
        "(That Kaplan's form is a candidate was decided after an earlier run of the default grid had been seen; the "
        "choice among the candidates was not.)",
    ]


def rates_line(study: str) -> str:
    """The law of the learning rates and where it was found."""
    law, best = read(f"results/{study}/rates/law.json"), pd.read_csv(ROOT / f"results/{study}/rates/best.csv")
    tokens = int(pd.read_csv(ROOT / f"results/{study}/tune/{best['size'][0]}.csv")["tokens"].max())
    edge = best.loc[~best["inside"], "size"].tolist()
    preset = yaml.safe_load((ROOT / f"presets/{study}.yaml").read_text(encoding="utf-8"))
    own = preset["training"]["embedding_rate"]
    return (
        f"* Learning rates: sweeps after {tokens:,} tokens at {', '.join(best['size'])} give peak = "
        f"{law['prefactor']:g} width^{law['exponent']:g}"
        + (f" (there is no bowl around the best rate of {', '.join(edge)})" if edge else "")
        + (f"; {own:g} for the embedding at every width." if own else ", for the embedding too.")
    )


def regret_line() -> str:
    """What that law costs where it was not tuned."""
    record = read("benchmarks/results/learning_rates.json")
    parts = [f"{row['regret %']:.1f} % at {row['size']}, {row['budget']}" for row in record["table"]]
    own = record["embedding"]
    best = ", ".join(
        f"{row['best rate']:.2g} at {row['size']}" + ("" if row["best inside"] else " (the edge of those tried)")
        for row in own
    )
    gained = ", ".join(f"{row['loss slow'] - row['loss x1']:.2f}" for row in own)
    return (
        f"* What the law of learning rates costs, against the lowest point of a sweep about it: {'; '.join(parts)}. "
        f"Between seeds the loss varies by {record['seed_noise_percent']:.1f} %.\n"
        f"* The embedding's best rate, by sweeps after {own[0]['budget']} tokens: {best}. All of them take "
        f"{own[0]['rate']:g}, which is {gained} nats better than the rate of all else (one seed). What it does to "
        "skills: below."
    )


def coverage_lines() -> list[str]:
    """How often the intervals cover a known truth."""
    record = read("benchmarks/results/interval_coverage.json")
    names = record["columns"]
    return [
        f"Do the 95 % intervals hold? {record['draws']} synthetic studies with the default grid's shape, each from a "
        "known surface with noise, analysed like a real one (searches start at the truth); the share whose interval "
        "covers it:",
        "",
        "| truth, noise | " + " | ".join(names.values()) + " |",
        "|---|" + "---|" * len(names),
        *(
            f"| {row['form']}, {100 * row['noise']:g} %, "
            + ("shared by a trunk | " if row["shared_by_trunk"] else "each cell its own | ")
            + " | ".join(f"{100 * row[key]:.0f} %" for key in names)
            + " |"
            for row in record["table"]
        ),
    ]


def ladder_lines(study: str) -> list[str]:
    """The exponent on each rung."""
    rungs = pd.read_csv(ROOT / f"results/{study}/ladder/0.csv")
    table = rungs.assign(shown=[_exponent(r.exponent_n, r.low, r.high) for r in rungs.itertuples()]).pivot(
        index="rung", columns="estimator", values="shown"
    )
    return [
        "| rung | " + " | ".join(table.columns) + " |",
        "|---|" + "---|" * len(table.columns),
        *(f"| {rung} | " + " | ".join(table.loc[rung]) + " |" for rung in dict.fromkeys(rungs["rung"])),
    ]


def _exponent(value: float, low: float, high: float) -> str:
    return f"{value:.2f} [{low:.2f}, {high:.2f}]" if value == value else "no minimum inside"


def ablation_lines() -> list[str]:
    """What the parts of the recipe do to the skills, at the second budget of the ablation."""
    record = read("benchmarks/results/ablation.json")
    table = pd.DataFrame(record["table"])
    budgets = list(dict.fromkeys(table["budget"]))
    skills = [column for column in table if column not in ("variant", "seed", "budget", "text loss")]
    means = table[table["budget"] == budgets[1]].groupby("variant", sort=False)[[*skills, "text loss"]].mean()
    head = f"| after {budgets[1]} tokens | " + " | ".join([*skills, "text, nats a token"]) + " |"
    rows = [
        f"| {variant} | " + " | ".join("" if value != value else f"{value:.2f}" for value in row) + " |"
        for variant, row in means.iterrows()
    ]
    return [
        f"What makes them appear? One thing changed at a time, {record['size']}, mean of {record['seeds']} seeds, from "
        "the floor (0) to the Bayes optimum (1):",
        "",
        head,
        "|---|" + "---|" * (len(skills) + 1),
        *rows,
        "",
        "![Ablation](benchmarks/results/ablation.png)",
    ]


def large_lines() -> list[str]:
    """The larger study, where its results are there."""
    study = "laptop-large"
    if not (ROOT / f"results/{study}").exists():
        return []
    cells = pd.read_csv(ROOT / f"results/{study}/table/cells.csv")
    return [
        "### A larger study",
        "",
        f"`laptop-large`: {len(cells)} cells up to {cells['params_matmul'].max():,} parameters and "
        f"{cells['tokens'].max():,} tokens, {cells['flops'].max():.1e} FLOPs. Held-out bits per byte (other held-out "
        "text than the default study's):",
        "",
        *loss_table(cells),
        "",
        rates_line(study),
        *laws_lines(study),
        "",
        "After the ladder of Porian et al. (2024): which habits of training and counting move the exponent.",
        "",
        f"![The ladder](results/{study}/ladder/0.png)",
        "",
        *ladder_lines(study),
        "",
    ]


def _interval(row: dict[str, Any], name: str) -> str:
    low, high = row["intervals_95"][f"exponent {name}"]
    return f"[{low:.2f}, {high:.2f}]"


def replicate_lines() -> list[str]:
    """Published numbers beside ours."""
    record = read("results/replicate/replicate.json")
    lines = ["| published | theirs | ours |", "|---|---|---|"]
    lines += [f"| {c['name']} | {c['published']:.7g} | {c['ours']:.7g} |" for c in record["checks"]]
    seconds = record["cpu_seconds"]
    return [
        *lines,
        "",
        f"The optimum takes {seconds['optimum']:.1f} s on one core, {record['resamples']:,} resamples "
        f"{seconds['resamples']:.0f} s.",
    ]


def plan_lines() -> list[str]:
    """A plan from the published points."""
    plan = read("results/replicate/replicate.json")["plan"]
    digits = {"n": ".3g", "d": ".3g", "loss": ".4f"}
    ends = {name: [f"{x:{text}}" for x in plan["intervals"][name]] for name, text in digits.items()}
    best, step, off = plan["optimum"], plan["next_run"], plan["off"]
    return [
        f"From the same points, `scalinglab plan --flops {plan['flops']:g}` answers:",
        "",
        "| | best | 95 % interval |",
        "|---|---|---|",
        f"| parameters | {best['n']:.3g} | {' to '.join(ends['n'])} |",
        f"| tokens | {best['d']:.3g} | {' to '.join(ends['d'])} |",
        f"| loss (nats a token) | {best['loss']:.4f} | {' to '.join(ends['loss'])} |",
        "",
        "; ".join(
            f"{factor} times that size costs {loss - best['loss']:.4f} nats, or "
            f"{100 * plan['compute_wasted'][factor]:.1f} % of the compute"
            for factor, loss in off.items()
        )
        + f". The run that would narrow the interval of the size most: {step['n']:.2g} parameters on "
        f"{step['d']:.2g} tokens ({step['flops']:.1e} FLOPs), to about {100 * step['shrinks_to']:.0f} % of its width.",
    ]


def block() -> str:
    """The results block, in Markdown."""
    cells = pd.read_csv(ROOT / "results/laptop/table/cells.csv")
    metrics = read("results/laptop/table/metrics.json")
    time, dag = read("benchmarks/results/study_time.json"), read("benchmarks/results/dag_overhead.json")
    speed = read("benchmarks/results/training_speed.json")["table"]
    repeated = sorted(set(cells[cells["size"].str.contains("s")]["width"].astype(str)))
    lines = [
        "Held-out bits per byte of the default study:",
        "",
        *loss_table(cells),
        "",
        f"* Between seeds, the loss varies by {100 * metrics['seed_noise']:.2f} % (standard deviation, replicas at "
        f"width {' and '.join(repeated)}).",
        rates_line("laptop"),
        regret_line(),
        *laws_lines("laptop"),
        "",
        "In-context learning and emergence:",
        "",
        *in_context.skills_lines("laptop"),
        *in_context.prompts_lines("laptop"),
        in_context.recall_attention_line(),
        "",
        *ablation_lines(),
    ]
    lines += [
        "",
        f"The run took {time['wall_minutes']:.1f} minutes on {time['cores']} cores, "
        f"{100 * time['training_share']:.0f} % of them spent in training loops, on a shared machine that gave the jobs "
        f"{100 * time['cpu_share_of_cores']:.0f} % of the cores; all shot sweeps together took "
        f"{100 * time['shots_share']:.0f} %; "
        f"no job used more than {time['peak_rss_mb']} MB.",
        f"A second `snakemake` takes {dag['noop_snakemake_s']:.1f} s, a second `dvc repro` "
        f"{dag['noop_dvc_repro_s']:.1f} s, restoring everything from the cache {dag['restore_s']:.1f} s, "
        f"planning 1,000 cells {dag['dry_run_1000_cells_s']:.1f} s.",
        "",
        "Training speed, one thread and two jobs at once, fp32, as ratios within one run: against a Hugging Face Llama "
        "of the same shape, and a plain nanoGPT-style loop. In the mixture the head is skipped where no target counts. "
        "Ours keeps freed memory between steps (stages/models.py), the others run as they come. The bound is a loop "
        "whose matrix products run at the machine's rate and all else is free.",
        "",
        "| width | tokens/s | Llama | plain | mixture / plain | bound / Llama | bound / plain |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row['width']} | {row['ours tokens/s']:,} | {row['ours / llama']:.2f}x | {row['ours / plain']:.2f}x | "
            f"{row['mixture / plain']:.2f}x | {row['bound / llama']:.2f}x | {row['bound / plain']:.2f}x |"
            for row in speed
        ),
        "",
        "`scalinglab replicate` repeats published analyses with the same code: Epoch AI's refit of Chinchilla "
        "(Besiroglu et al. 2024) and the exponents of Pearce & Song (2024).",
        "",
        *replicate_lines(),
        "",
        *plan_lines(),
        "",
        *coverage_lines(),
        "",
        *large_lines(),
    ]
    return "\n".join(lines).rstrip("\n")


def updated(text: str, fresh: str, start: str, end: str) -> str:
    """A page with a fresh block between two marks."""
    before, rest = text.split(start)
    return f"{before}{start}\n\n{fresh}\n\n{end}{rest.split(end)[1]}"


def main() -> None:
    wanted = theory.pages()
    blocks = (
        ("README.md", block, START, END),
        ("README.md", theory.gallery, COURSE, END_OF_COURSE),
        ("docs/reliability.md", reliability.block, START, END),
    )
    for name, make, start, end in blocks:
        before = wanted.get(name) or (ROOT / name).read_text(encoding="utf-8")
        wanted[name] = updated(before, make(), start, end)
    there = {name: (ROOT / name).read_text(encoding="utf-8") if (ROOT / name).exists() else "" for name in wanted}
    stale = [name for name, text in wanted.items() if text != there[name]]
    if "--check" in sys.argv:
        sys.exit(f"{', '.join(stale)} out of date: python docs/update_readme.py" if stale else 0)
    for name in stale:
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(wanted[name], encoding="utf-8")


if __name__ == "__main__":
    main()
