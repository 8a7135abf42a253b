"""In-context accuracy against the number of examples: each size at its largest budget, with chance and Bayes."""

from matplotlib.figure import Figure

from scalinglab.figures.style import (
    SKILL_TITLES,
    Tables,
    at_largest_budget,
    new_figure,
    no_skills,
    shots_axis,
    size_style,
    width_lines,
)


def draw(tables: Tables) -> Figure:
    shots = at_largest_budget(tables)
    skills = list(dict.fromkeys(shots["skill"]))
    if not skills:
        return no_skills()
    figure, axes = new_figure(max(1, len(skills)), width=3.5, height=3.4)
    styles = size_style(tables.cells["width"].tolist())
    for axis, skill in zip(axes, skills, strict=False):
        here = shots[shots["skill"] == skill]
        width_lines(axis, here, "icl/acc", styles, band=("icl/low", "icl/high"))
        bayes = here.drop_duplicates("k").sort_values("k")
        axis.plot(bayes["k"], bayes["bayes/acc"], "k--", linewidth=1, label="Bayes optimum")
        axis.axhline(
            here["floor"].iloc[0], color="grey", linestyle=":", linewidth=1, label="floor: optimum without examples"
        )
        shots_axis(axis, here)
        axis.set_ylim(-0.03, 1.05)
        axis.set_title(SKILL_TITLES.get(skill, skill))
    axes[0].set_ylabel("accuracy (95 % Wilson band)")
    figure.suptitle(f"Models trained on {shots['budget'].iloc[0]} tokens", fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="outside right upper")
    return figure
