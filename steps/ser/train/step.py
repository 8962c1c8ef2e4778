"""One optimizer step: forward, loss, backward, Adam; on a GPU replayed as one CUDA graph."""

import gc
import inspect
from collections.abc import Callable
from typing import Any

import torch

from ser.base.device import side_stream
from ser.train.distributed import average_gradients

_WARM_UP = 3  # steps of a batch size before it is captured: what is allocated once must be there by then

Loss = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]


class Adam(torch.optim.Adam):
    """torch's, without the import of its compiler, a second that serves only those who compile these methods."""

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class TrainingStep:
    """A step on a batch.

    On a GPU a step is some hundreds of short kernels, whose launches take longer than their work. Captured, each batch
    size becomes a CUDA graph at its fourth step, the exchange of gradients with it, which is replayed from then on. All
    steps count: none is made to warm up alone.

    Parameters
    ----------
    network : torch.nn.Module
    loss : callable
        `(network, features [B, T, dimension], positions [B])` to a scalar.
    optimizer : torch.optim.Optimizer
        Its learning rates are tensors when `captured`.
    precision : str
        `bf16` or `fp32`.
    captured : bool
    """

    def __init__(self, network: torch.nn.Module, loss: Loss, optimizer: torch.optim.Optimizer, precision: str,
                 captured: bool):
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.precision = precision
        self.captured = captured
        self.graphs: dict[tuple[int, float], _Replayed] = {}
        self.pool = torch.cuda.graph_pool_handle() if captured else None

    def __call__(self, features: torch.Tensor, positions: torch.Tensor, weight: float = 1.0) -> torch.Tensor:
        """Make a step on `weight` times the loss of a batch; returns that, to be read before the next step."""
        if not self.captured:
            return self._step(features, positions, weight)
        kind = len(features), weight
        if kind not in self.graphs:
            self.graphs[kind] = _Replayed(lambda features, positions: self._step(features, positions, weight),
                                          self.pool, features, positions)
        return self.graphs[kind](features, positions)

    def _step(self, features: torch.Tensor, positions: torch.Tensor, weight: float) -> torch.Tensor:
        with torch.autocast(features.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            loss = weight * self.loss(self.network, features, positions)
        self.network.zero_grad()
        loss.backward()
        average_gradients(self.network)
        self.optimizer.step()
        return loss.detach()

    def release(self) -> None:
        """Give the memory of the graphs back to the GPU, which torch keeps for a graph alone."""
        if self.captured:
            self.graphs.clear()
            self.network.zero_grad()  # gradients lie in that memory
            torch.cuda.empty_cache()


class _Replayed:
    """A function of tensors of fixed shapes, run as it is at first and then replayed as a CUDA graph.

    Graphs of one pool share the memory of what they compute in between, and so may be replayed one at a time.
    """

    def __init__(self, function: Callable[..., torch.Tensor], pool: Any, *inputs: torch.Tensor):
        self.function = function
        self.pool = pool
        self.inputs = [torch.empty_like(tensor) for tensor in inputs]
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.calls += 1
        if self.calls <= _WARM_UP:
            stream = side_stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self.output = self.function(*self.inputs)
            torch.cuda.current_stream().wait_stream(stream)
            return self.output
        if self.graph is None:
            self.graph = self._capture()
        self.graph.replay()
        return self.output

    def _capture(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        collects = gc.isenabled()
        gc.disable()  # what is freed while a graph is captured would spoil it
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=side_stream(), capture_error_mode="thread_local"):
                self.output = self.function(*self.inputs)
        finally:
            if collects:
                gc.enable()
        return graph
