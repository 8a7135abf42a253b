"""The loss against a teacher: by hand, its gradients, and nothing of it without a weight."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from scalinglab.config import Study
from scalinglab.model.decoder import Decoder, initialise
from scalinglab.training.data import Batches
from scalinglab.training.loop import Stretch, train
from scalinglab.training.optimiser import AdamW
from scalinglab.training.schedule import Rates
from scalinglab.transfer.distillation import Student, soft_loss

ROWS = np.random.default_rng(0).integers(0, 50, (16, 17)).astype(np.uint16)
TOKENS = torch.from_numpy(ROWS.astype(np.int64))
SCORED = torch.arange(0, 16 * 16, 3)


def logits(*seeds: int) -> list[torch.Tensor]:
    return [torch.randn(4, 7, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in seeds]


def test_by_hand() -> None:
    """Two kinds: the teacher says 4 to 1, the student 1 to 1; at temperature 2 the teacher says 2 to 1."""
    teacher, student = torch.tensor([[math.log(4), 0.0]]), torch.zeros(1, 2)
    at_1 = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    at_2 = 2 / 3 * math.log(2 / 3 / 0.5) + 1 / 3 * math.log(1 / 3 / 0.5)
    assert soft_loss(student, teacher, 1).item() == pytest.approx(at_1)
    assert soft_loss(student, teacher, 2).item() == pytest.approx(4 * at_2)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_gradient_is_the_difference_of_the_softened_distributions(temperature: float) -> None:
    """T (q - p) a row (Hinton et al. 2015, eq. 2, times T^2)."""
    student, teacher = logits(0, 1)
    student.requires_grad_()
    soft_loss(student, teacher, temperature).backward()
    q, p = ((x / temperature).softmax(1) for x in (student, teacher))
    torch.testing.assert_close(student.grad, temperature * (q - p) / 4)


def test_at_high_temperature_logits_are_matched() -> None:
    """Gradients keep their size: the limit of T (q - p) is the centred difference of logits over V (eq. 4)."""
    student, teacher = logits(0, 1)
    student.requires_grad_()
    soft_loss(student, teacher, 1e4).backward()
    centred = [x.detach() - x.detach().mean(1, keepdim=True) for x in (student, teacher)]
    torch.testing.assert_close(student.grad, (centred[0] - centred[1]) / 7 / 4, atol=1e-4, rtol=0)


def student_of(teacher: Decoder, study: Study, alpha: float, temperature: float = 2.0) -> Student:
    options = dataclasses.replace(study.model, head_dim=8)
    student = Student(dataclasses.replace(teacher.shape, d_model=8, n_head=1, n_kv_head=1, d_ff=24), options, teacher,
                      temperature, alpha)  # fmt: skip
    initialise(student, seed=3)
    return student


@pytest.fixture
def teacher(tiny: Decoder) -> Decoder:
    torch.nn.init.normal_(tiny.head.weight, generator=torch.Generator().manual_seed(1))
    return tiny


def test_without_weight_training_is_bitwise_plain(teacher: Decoder, smoke: Study) -> None:
    student = student_of(teacher, smoke, alpha=0)
    plain = Decoder(student.shape, dataclasses.replace(smoke.model, head_dim=8))
    initialise(plain, seed=3)
    batches = Batches(ROWS, np.ones((16, 16), bool), 128, repeat=4)
    for model in (student, plain):
        train(model, AdamW(model, smoke.training), batches, Stretch(0, 4), lambda step: Rates.alike(0.01),
              smoke.training, smoke.execution, lambda step, point: None, 0)  # fmt: skip
    assert student.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in student.state_dict().items())


def test_the_loss_is_a_mixture_at_the_scored_places(teacher: Decoder, smoke: Study) -> None:
    arguments = TOKENS[:, :-1], TOKENS[:, 1:].contiguous(), SCORED
    hard = student_of(teacher, smoke, alpha=0).loss(*arguments)
    student = student_of(teacher, smoke, alpha=0.25)
    flat = [model.logits(arguments[0]).flatten(0, 1)[SCORED] for model in (student, teacher)]
    torch.testing.assert_close(student.loss(*arguments), 0.75 * hard + 0.25 * soft_loss(*flat, 2.0))


def test_the_teacher_is_no_part_of_the_student(teacher: Decoder, smoke: Study) -> None:
    student = student_of(teacher, smoke, alpha=1)
    student.loss(TOKENS[:, :-1], TOKENS[:, 1:].contiguous(), SCORED).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert len(list(student.parameters())) == len(list(teacher.parameters()))
    assert student.head.weight.grad is not None


def test_a_student_like_its_teacher_has_nothing_to_learn(teacher: Decoder, smoke: Study) -> None:
    student = Student(teacher.shape, dataclasses.replace(smoke.model, head_dim=8), teacher, 4.0, 1.0)
    student.load_state_dict(teacher.state_dict())
    assert student.loss(TOKENS[:, :-1], TOKENS[:, 1:].contiguous(), SCORED).item() == pytest.approx(0, abs=1e-6)
