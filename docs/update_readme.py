"""Write the README's results block from results/laptop and benchmarks/results: no number there is typed by hand.

`python docs/update_readme.py` rewrites the block between the markers; `--check` only compares (a test runs it).
"""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parent.parent
START, END = "<!-- results: written by docs/update_readme.py -->", "<!-- end of results -->"


def read(path: str) -> Any:
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def loss_table(cells: pd.DataFrame) -> list[str]:
    """Held-out bits per byte, widths down, budgets across; the main grid only."""
    main = cells[~cells["size"].str.contains("s")]
    grid = main.pivot(index="width", columns="tokens", values="val/bpb")
    budgets = main.drop_duplicates("tokens").sort_values("tokens")["budget"]
    lines = ["| width | " + " | ".join(budgets) + " |", "|---|" + "---|" * len(budgets)]
    return lines + [f"| {width} | " + " | ".join(f"{v:.3f}" for v in row) + " |" for width, row in grid.iterrows()]


def laws_lines(laws: dict[str, Any]) -> list[str]:
    """Exponents by estimator and counting, the verdict, the sealed forecast, the multiverse."""
    main, inside = laws["conventions"]["matmul"], [m for m in laws["isoflop_minima"] if m["inside"]]
    universes = pd.read_csv(ROOT / "results/laptop/multiverse/universes.csv").dropna(subset="exponent_n")
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
        "(That Kaplan's form is a candidate was decided after an earlier run of this grid had been seen; the choice "
        "among the candidates was not.)",
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


def block() -> str:
    """The results block, in Markdown."""
    cells = pd.read_csv(ROOT / "results/laptop/table/cells.csv")
    laws, metrics = read("results/laptop/laws/laws.json"), read("results/laptop/table/metrics.json")
    skills = read("results/laptop/emergence/emergence.json")["skills"]
    time, dag = read("benchmarks/results/study_time.json"), read("benchmarks/results/dag_overhead.json")
    speed = read("benchmarks/results/training_speed.json")["table"]
    repeated = sorted(set(cells[cells["size"].str.contains("s")]["width"].astype(str)))
    lines = [
        START,
        "",
        "Held-out bits per byte of the default study:",
        "",
        *loss_table(cells),
        "",
        f"* Between seeds, the loss varies by {100 * metrics['seed_noise']:.2f} % (standard deviation, replicas at "
        f"width {' and '.join(repeated)}).",
        *laws_lines(laws),
    ]
    for row in skills:
        if row["length"] == 1:
            lines.append(
                f"* Skill `{row['skill']}`: first had by cell {row['first_cell']}; {row['cells_near_floor']} of "
                f"{row['cells']} cells near the floor, {row['cells_near_bayes']} near the Bayes optimum; largest step "
                f"between neighbouring budgets {row['largest_jump']:.2f} of the way."
            )
    lines += [
        "",
        f"The run took {time['wall_minutes']:.1f} minutes on {time['cores']} cores, "
        f"{100 * time['training_share']:.0f} % of them spent in training loops, on a shared machine that gave the jobs "
        f"{100 * time['cpu_share_of_cores']:.0f} % of the cores; "
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
        END,
    ]
    return "\n".join(lines)


def updated(text: str) -> str:
    """The README with a fresh block."""
    before, rest = text.split(START)
    return before + block() + rest.split(END)[1]


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        sys.exit(0 if updated(text) == text else "README.md is out of date: python docs/update_readme.py")
    readme.write_text(updated(text), encoding="utf-8")


if __name__ == "__main__":
    main()
