"""One module a question that is measured in parts, jobs of their own: what would keep one core busy for half an hour.

Each has a dataclass `Settings`; `parts(settings)`, the names of the parts; and `measure_part(settings, study, part,
job)`, which gives tables of rows by name. What is trained is checkpointed under the name of the job. The module of the
question's name in measurements/ has `combine(settings, study, found)` in place of `measure`: it makes the question's
tables of those of all parts. Nothing here draws or writes: an edit of a figure or a text trains nothing anew.
"""

from typing import Any

Tables = dict[str, list[dict[str, Any]]]
