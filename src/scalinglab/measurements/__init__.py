"""One module a question that is measured without variants: what is measured, drawn and said.

Each has a dataclass `Settings`; `measure(settings, study, job)`, which gives tables of rows by name; `figures(tables)`;
and `findings(tables)`, a text in Markdown whose every number is computed. stages/measure.py writes what they give. What
is trained is checkpointed under the name of the job. Some are measured in parts, which stand in parts/: these have
`combine` in place of `measure`.
"""

Row = dict[str, float | int | str]
