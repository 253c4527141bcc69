"""What Axolotl has no keys for, or drops: the format of the weights apart from that of the computation, a decay as a share of all
steps, the project of Trackio."""

import math

import torch
from axolotl.integrations.base import BasePlugin
from transformers.optimization import get_wsd_schedule


class FloatWeights(BasePlugin):
    """Loads the weights in fp32 where the computation is made in 16 bit: each small update of them counts."""

    def load_datasets(self, cfg, preprocess=False):  # noqa: ARG002
        """Say the format, in the last hook before Axolotl reads it; the rows are its own."""
        cfg.torch_dtype = torch.float32


class TrackioProject(BasePlugin):
    """Hands the project on, which Axolotl reads and Transformers never gets."""

    def get_training_args(self, cfg):
        """Return the words of Transformers' arguments."""
        return {"project": cfg.trackio_project_name}


class DecayShare(BasePlugin):
    """Decays the learning rate over the last `decay_share` of all steps, whose number only the trainer knows."""

    def create_lr_scheduler(self, cfg, trainer, optimizer, num_training_steps):
        """Return the schedule warmup_stable_decay."""
        words = dict(cfg.lr_scheduler_kwargs)
        decay = math.ceil(words.pop("decay_share") * num_training_steps)
        warmup = trainer.args.get_warmup_steps(num_training_steps)
        return get_wsd_schedule(optimizer, warmup, decay, num_training_steps=num_training_steps, **words)
