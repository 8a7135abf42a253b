"""The order of the course: every question has its place, and a user's own comes last."""

from scalinglab.theory.course import LECTURES, OTHER, by_lecture


def test_questions_stand_in_the_order_of_lectures() -> None:
    found = by_lecture(["mine", "norms", "attention_cost", "attention_maps"])
    assert found == {"Attention": ["attention_maps", "attention_cost"], "Norms": ["norms"], OTHER: ["mine"]}
    assert list(found) == ["Attention", "Norms", OTHER]


def test_no_question_stands_twice() -> None:
    names = [name for lecture in LECTURES.values() for name in lecture]
    assert len(set(names)) == len(names)
