"""In-context tasks whose mapping is drawn anew in every document, each with its Bayes-optimal predictor.

`SKILLS` is the registry; a new skill is one new file and one line here.
"""

from scalinglab.errors import UserError
from scalinglab.skills.base import Skill
from scalinglab.skills.prior_mapping import PriorMapping
from scalinglab.skills.recall import Recall
from scalinglab.skills.shift import Shift

SKILLS: dict[str, type[Skill]] = {"recall": Recall, "shift": Shift, "prior": PriorMapping}


def skill(name: str) -> Skill:
    """The skill registered under `name`. Raises UserError that lists the known ones."""
    if name not in SKILLS:
        raise UserError(f"unknown skill {name!r} in mixture.skills; known: {', '.join(SKILLS)}")
    return SKILLS[name]()
