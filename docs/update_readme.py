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


def block() -> str:
    """The results block, in Markdown."""
    cells = pd.read_csv(ROOT / "results/laptop/table/cells.csv")
    laws, metrics = read("results/laptop/laws/laws.json"), read("results/laptop/table/metrics.json")
    skills = read("results/laptop/emergence/emergence.json")["skills"]
    time, dag = read("benchmarks/results/study_time.json"), read("benchmarks/results/dag_overhead.json")
    speed = read("benchmarks/results/training_speed.json")["table"]
    low, high = laws["intervals_95"]["isoflop_exponent_n"]
    fit, bounds = laws["parametric"], laws["intervals_95"]
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
        f"* {laws['isoflop_minima_inside']} of {len(laws['isoflop_minima'])} iso-FLOP minima lie inside the grid; "
        f"through them N_opt ~ C^{laws['isoflop_exponent_n']:.2f} (95 %: {low:.2f} to {high:.2f}).",
        f"* Parametric surface: alpha = {fit['alpha']:.2f} ({bounds['alpha'][0]:.2f} to {bounds['alpha'][1]:.2f}), "
        f"beta = {fit['beta']:.2f} ({bounds['beta'][0]:.2f} to {bounds['beta'][1]:.2f}). It leaves "
        f"{100 * laws['parametric_rms_relative_error']:.1f} % root mean square error beside a seed noise of "
        f"{100 * metrics['seed_noise']:.2f} %, and the residuals are systematic (results/laptop/figures/frontier.png): "
        f"it implies N_opt ~ C^{fit['exponent_n']:.2f} ({bounds['exponent_n'][0]:.2f} to "
        f"{bounds['exponent_n'][1]:.2f}), which should not be extrapolated.",
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
