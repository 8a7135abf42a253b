"""Fine-tuning for a downstream task: which class a window of text is from, with a linear head on a model's features."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from scalinglab.config import Training
from scalinglab.model.decoder import Decoder
from scalinglab.objectives.base import Objective, Specials, step_generator
from scalinglab.training.schedule import Rates


@dataclass(frozen=True)
class Windows:
    """Windows of text [R, T] as token ids, and their classes [R]: to train on, to choose a rate by, and to test.

    names: of the classes.
    """

    train_RT: NDArray[np.int64]
    train_R: NDArray[np.int64]
    choose_RT: NDArray[np.int64]
    choose_R: NDArray[np.int64]
    test_RT: NDArray[np.int64]
    test_R: NDArray[np.int64]
    names: tuple[str, ...]

    @property
    def majority(self) -> float:
        """Accuracy of the best constant guess on the test windows."""
        return float(np.bincount(self.test_R).max() / len(self.test_R))

    def told_by_single_tokens(self) -> float:
        """Accuracy of naive Bayes on the test windows: of counts of tokens, whatever their order, with one added."""
        tokens = 1 + max(int(self.train_RT.max()), int(self.test_RT.max()))
        counts_KV = np.ones((len(self.names), tokens))
        np.add.at(counts_KV, (self.train_R[:, None], self.train_RT), 1)
        logs_KV = np.log(counts_KV / counts_KV.sum(axis=1, keepdims=True))
        prior_K = np.log(np.bincount(self.train_R, minlength=len(self.names)) / len(self.train_R))
        scores_KR = logs_KV[:, self.test_RT].sum(axis=2) + prior_K[:, None]
        return float((scores_KR.argmax(axis=0) == self.test_R).mean())

    def to_choose_by(self) -> "Windows":
        """The same, judged by the windows that choose."""
        return replace(self, test_RT=self.choose_RT, test_R=self.choose_R)


class Classifier(nn.Module):
    """A linear head on the mean feature of a window and on that of the cls behind it: those that read one way have all
    of the window at its end, and an encoder-decoder has its decoder there."""

    def __init__(self, model: Decoder, objective: Objective, specials: Specials, classes: int) -> None:
        super().__init__()
        self.body, self._objective, self._specials = model, objective, specials
        self.classes = nn.Linear(2 * model.shape.d_model, classes)
        nn.init.zeros_(self.classes.weight)
        nn.init.zeros_(self.classes.bias)

    def forward(self, tokens_BT: Tensor, frozen: bool = False) -> Tensor:
        """Logits [B, classes]; frozen: without gradients of the body."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            x_BTD = self.body.hidden(*self._objective.window(tokens_BT, self._specials))
        return self.classes(torch.cat([x_BTD[:, :-1].mean(dim=1), x_BTD[:, -1]], dim=1))


def fine_tune(
    model: Decoder,
    objective: Objective,
    specials: Specials,
    windows: Windows,
    training: Training,
    rates: Rates,
    steps: int,
    batch_rows: int,
    seed: int,
    frozen: bool = False,
) -> float:
    """Train all weights of a model, and the head; return the accuracy on the test windows.

    The rates fall linearly to zero; no weight decays. The model is changed, unless it is frozen: then only the head
    learns (a linear probe, Alain & Bengio 2016).
    """
    device = next(model.parameters()).device
    classifier = Classifier(model, objective, specials, len(windows.names)).to(device)
    betas = (training.beta1, training.beta2)
    embedding = model.embedding.weight
    own = rates.embedding if embedding is not model.head.weight else rates.others  # as in training
    others = [one for one in classifier.parameters() if one is not embedding]
    groups = [{"params": [embedding], "lr": own}, {"params": others, "lr": rates.others}]
    if frozen:
        groups = [{"params": list(classifier.classes.parameters()), "lr": rates.others}]
    optimiser = torch.optim.AdamW(groups, betas=betas, eps=training.eps, weight_decay=0.0)
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=steps)
    classifier.train(not frozen)
    for step in range(steps):
        torch.manual_seed(step)  # of dropout: as in training, a function of the step
        chosen = step_generator(seed, step).integers(len(windows.train_R), size=batch_rows)
        logits_BK = classifier(torch.from_numpy(windows.train_RT[chosen]).to(device), frozen)
        F.cross_entropy(logits_BK, torch.from_numpy(windows.train_R[chosen]).to(device)).backward()
        nn.utils.clip_grad_norm_(classifier.parameters(), training.clip_norm)
        optimiser.step()
        falling.step()
        optimiser.zero_grad()
    classifier.eval()
    right = 0
    with torch.no_grad():
        for first in range(0, len(windows.test_R), batch_rows):
            logits_BK = classifier(torch.from_numpy(windows.test_RT[first : first + batch_rows]).to(device))
            right += int((logits_BK.argmax(dim=1).cpu().numpy() == windows.test_R[first : first + batch_rows]).sum())
    return right / len(windows.test_R)
