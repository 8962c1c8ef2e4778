"""Rank of this process among those that train one model, as torchrun says it in the environment."""

import os


def rank() -> int:
    """Number of this process among all, from 0."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """How many processes train the model."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_rank() -> int:
    """Number of this process among those of its node, from 0."""
    return int(os.environ.get("LOCAL_RANK", 0))


def local_world_size() -> int:
    """How many processes of this node train the model."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this is the first process, which reads and writes for all."""
    return rank() == 0
