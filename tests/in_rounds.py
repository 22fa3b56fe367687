"""Trainings of a second each, and signals that are made up, for merging in rounds."""

from safetensors.torch import load_file
from tiny import EXAMPLES

from merging.checkpoints.adapted import open_checkpoint
from merging.train_settings import AdapterSettings, TrainSettings

TRAINING = TrainSettings(batch_size=4, learning_rate=1e-2, cpu=True, save_seconds=0)
ADAPTER = TrainSettings(
    **{**vars(TRAINING), "adapter": AdapterSettings(rank=4, alpha=8, targets=("q_proj", "up_proj"))}
)
TASKS = {"colours": EXAMPLES[:2] * 4, "shades": EXAMPLES[2:4] * 4, "both": EXAMPLES[1:3] * 4}


class Counted:
    """Losses and performances that depend on the checkpoint, and how often they were asked for."""

    def __init__(self):
        self.asked = 0

    def loss(self, checkpoint, task, over):
        self.asked += 1
        drawn = int(open_checkpoint(checkpoint).identity().weights[:6], 16) / 16**6
        return drawn + len(task) / 10

    def normalised(self, checkpoint, task):
        return self.loss(checkpoint, task, "text")

    def benchmarks(self, task):
        return 3 if task == "both" else 1

    def key(self, needs):
        return ["the same", needs.losses, needs.scores, needs.questions]

    def free(self):
        """Holds nothing."""


def arrays(path, factors=False):
    if factors:
        return {n: t.numpy() for n, t in load_file(path / "adapter_model.safetensors").items()}
    opened = open_checkpoint(path)
    return {name: opened.tensor(name).float().numpy() for name in opened.names}
