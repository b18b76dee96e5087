"""An experiment: train a net, evaluate it, write the report. What `striate train` and `striate.train()` do."""

from striate.experiment.fresh import search_rate, train, train_with, try_out
from striate.experiment.reported import compare_views, evaluate
from striate.experiment.resumed import resume
from striate.settings import Settings

__all__ = ["Settings", "compare_views", "evaluate", "resume", "search_rate", "train", "train_with", "try_out"]
