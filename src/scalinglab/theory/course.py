"""The order of a course: its lectures, and the questions of studies/ that each asks."""

import difflib
from collections.abc import Collection

LECTURES = {
    "Attention": (
        "attention_mathematics",
        "attention_scale",
        "attention_maps",
        "attention_kinds",
        "attention_cost",
    ),
    "Positions": ("positions",),
    "Feed-forward layers": ("feed_forward",),
    "Norms": ("norms",),
    "Objectives and architectures": ("objectives", "architectures"),
    "Training": ("schedules", "batch_size", "regularisation", "repeated_data"),
    "Precision": ("precision", "number_formats"),
    "Memory": ("activation_memory",),
    "Parallelism": ("parallelism",),
    "Scaling rules": ("unit_scaling",),
    "Tokenizers": ("tokenizers",),
    "Decoding": ("decoding",),
    "Beyond the dense decoder": (
        "experts",
        "mixers",
        "recall_capacity",
        "retrieval",
        "adaptation",
        "distillation",
    ),
}
OTHER = "More"  # questions that no lecture names: a user's own


def by_lecture(questions: Collection[str]) -> dict[str, list[str]]:
    """Questions by lecture, in the order of the course; lectures without any are left out."""
    named = {name for names in LECTURES.values() for name in names}
    every = {**LECTURES, OTHER: tuple(name for name in questions if name not in named)}
    found = {lecture: [name for name in names if name in questions] for lecture, names in every.items()}
    return {lecture: names for lecture, names in found.items() if names}


def no_question(name: str, known: Collection[str]) -> str:
    """What to say of a name that is none of the questions'."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"no question {name!r} in studies/; {hint}"
