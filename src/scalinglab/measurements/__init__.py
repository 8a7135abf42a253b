"""One module a question that is measured without variants: what is measured, drawn and said.

Each has a dataclass `Settings`; `measure(settings, study, job)`, which gives tables of rows by name; `figures(tables)`;
and `findings(tables)`, a text in Markdown whose every number is computed. stages/measure.py writes what they give. What
is trained is checkpointed under the name of the job.

What would keep one core busy for too long is measured in parts, jobs of their own (stages/part.py). Instead of
`measure` the module then has `parts(settings)`, their names; `measure_part(settings, study, part, job)`, which gives
tables too; and `combine(settings, study, found)`, which makes the tables of the question from those of all parts.
"""

Row = dict[str, float | int | str]
Tables = dict[str, list[Row]]
