"""init@size: the trunk's weights before its first token."""

from scalinglab.config import START, Study, seed_of
from scalinglab.model.decoder import initialise
from scalinglab.model.weights import save_tensors
from scalinglab.paths import Paths
from scalinglab.stages.models import build_model


def run(study: Study, size: str) -> None:
    model = build_model(study, size)
    initialise(model, study.seed + seed_of(size))
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    state = {"step": 0, "tokens": 0, "diverged": False, "train/loss": None}
    save_tensors(Paths(study.study).trunk(size, START), tensors, state)
