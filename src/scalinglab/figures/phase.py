"""Where each skill is had, over sizes and budgets: from the optimum without examples (0) to the Bayes optimum (1)."""

from matplotlib.figure import Figure

from scalinglab.figures.style import SKILL_TITLES, Tables, first_seed, fit_labels, new_figure, no_skills


def draw(tables: Tables) -> Figure:
    exact = first_seed(tables.exact)
    exact = exact[exact["length"] == exact["length"].min()]
    skills = list(dict.fromkeys(exact["skill"]))
    if not skills:
        return no_skills()
    figure, axes = new_figure(max(1, len(skills)), width=3.9, height=3.2)
    budgets = dict(zip(exact["tokens"], exact["budget"], strict=True))
    image = None
    for axis, skill in zip(axes, skills, strict=False):
        grid = exact[exact["skill"] == skill].pivot(index="width", columns="tokens", values="exact/of_bayes")
        image = axis.imshow(grid, origin="lower", aspect="auto", cmap="cividis", vmin=0, vmax=1)
        for row in range(grid.shape[0]):
            for column in range(grid.shape[1]):
                value = float(grid.iloc[row, column])
                axis.text(column, row, f"{value:.2f}".replace("-0.00", "0.00"), ha="center", va="center", fontsize=7,
                          color="black" if value > 0.55 else "white")  # fmt: skip
        if grid.notna().all(axis=None) and min(grid.shape) > 1 and grid.min(axis=None) < 0.5 < grid.max(axis=None):
            axis.contour(grid.to_numpy(float), levels=[0.5], colors="white", linewidths=1.6)
            axis.contour(grid.to_numpy(float), levels=[0.5], colors="black", linewidths=0.8)
        axis.set_xticks(range(grid.shape[1]), [budgets[tokens] for tokens in grid.columns])
        fit_labels(axis, grid.shape[1])
        axis.set_yticks(range(grid.shape[0]), [str(w) for w in grid.index])
        axis.set_xlabel("training tokens")
        axis.set_title(SKILL_TITLES.get(skill, skill))
        axis.spines[:].set_visible(False)
    axes[0].set_ylabel("width (line: half-way)")
    if image is not None:
        figure.colorbar(image, ax=axes, label="from floor (0) to Bayes (1)")
    return figure
