"""Knowledge distillation (Hinton et al. 2015): a student learns from the distribution of a larger, trained model."""

import torch
import torch.nn.functional as F
from torch import Tensor

from scalinglab import config
from scalinglab.model.decoder import Decoder
from scalinglab.model.shape import Shape


def soft_loss(student_NV: Tensor, teacher_NV: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of logits, both softened by the temperature T: mean over rows, in nats.

    With the factor, gradients keep their size at every temperature (section 2); a cross-entropy with soft targets
    differs by the teacher's entropy only, which has no gradient.
    """
    student_NV, teacher_NV = ((logits / temperature).log_softmax(1) for logits in (student_NV, teacher_NV))
    return temperature**2 * F.kl_div(student_NV, teacher_NV, reduction="batchmean", log_target=True)


class Student(Decoder):
    """A decoder whose loss is (1 - alpha) times that of the targets, and alpha times that against a teacher.

    The teacher, which shares its vocabulary, is read and never changed; it is no part of the student.
    """

    def __init__(self, shape: Shape, options: config.Model, teacher: Decoder, temperature: float, alpha: float) -> None:
        super().__init__(shape, options)
        self._teacher = (teacher.eval(),)  # within a tuple it is none of the student's modules
        self._temperature, self._alpha = temperature, alpha

    def loss(
        self, tokens_BT: Tensor, targets_BT: Tensor, scored_N: Tensor, smoothing: float = 0.0, two_way: int = 0
    ) -> Tensor:
        """Mean nats over the scored targets, as of any decoder; smoothing: of the targets alone."""
        if not self._alpha:
            return super().loss(tokens_BT, targets_BT, scored_N, smoothing, two_way)
        logits_NV = self._at(self, tokens_BT, scored_N, two_way)
        with torch.no_grad():
            teacher_NV = self._at(self._teacher[0], tokens_BT, scored_N, two_way)
        soft = soft_loss(logits_NV, teacher_NV, self._temperature)
        if self._alpha == 1:
            return soft
        hard = F.cross_entropy(logits_NV, targets_BT.flatten().index_select(0, scored_N), label_smoothing=smoothing)
        return torch.lerp(hard, soft, self._alpha)

    @staticmethod
    def _at(model: Decoder, tokens_BT: Tensor, scored_N: Tensor, two_way: int) -> Tensor:
        """Logits [N, V] at the scored places."""
        return model.head(model.hidden(tokens_BT, two_way).flatten(0, 1).index_select(0, scored_N))
