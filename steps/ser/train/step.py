"""One optimizer step: forward, loss, backward, Adam; on a GPU replayed as one CUDA graph."""

import gc

import torch

_WARM_UP = 3  # steps of a batch size before it is captured: what is allocated once must be there by then


class Adam(torch.optim.Adam):
    """torch's, without the decorators that import torch's compiler, for as long as torch itself, to keep it away."""

    add_param_group = torch.optim.Adam.add_param_group.__wrapped__
    step = torch.no_grad()(torch.optim.Adam.step.__wrapped__)


class TrainingStep:
    """A step on a batch.

    On a GPU a step is some hundreds of short kernels, whose launches take longer than their work. Captured, each batch
    size becomes a CUDA graph at its fourth step, which is replayed from then on. All steps count: none is made to
    warm up alone.

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

    def __init__(self, network, loss, optimizer, precision, captured):
        self.network, self.loss, self.optimizer, self.precision = network, loss, optimizer, precision
        self.captured, self.graphs = captured, {}

    def __call__(self, features, positions, weight=1.0):
        """Make a step on `weight` times the loss of a batch; returns that, to be read before the next step."""
        if not self.captured:
            return self._step(features, positions, weight)
        size = len(features)
        if size not in self.graphs:
            self.graphs[size] = _Replayed(lambda *batch: self._step(*batch, weight), features, positions)
        return self.graphs[size](features, positions)

    def _step(self, features, positions, weight):
        with torch.autocast(features.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            loss = weight * self.loss(self.network, features, positions)
        self.network.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class _Replayed:
    """A function of tensors of fixed shapes, run as it is at first and then replayed as a CUDA graph."""

    def __init__(self, function, *inputs):
        self.function, self.inputs = function, [torch.empty_like(tensor) for tensor in inputs]
        self.calls, self.graph, self.stream = 0, None, torch.cuda.Stream()

    def __call__(self, *inputs):
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.calls += 1
        if self.calls <= _WARM_UP:
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                self.output = self.function(*self.inputs)
            torch.cuda.current_stream().wait_stream(self.stream)
            return self.output
        if self.graph is None:
            self._capture()
        self.graph.replay()
        return self.output

    def _capture(self):
        self.graph = torch.cuda.CUDAGraph()
        collects = gc.isenabled()
        gc.disable()  # the graph of an earlier training, freed meanwhile, would spoil this one
        try:
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.output = self.function(*self.inputs)
        finally:
            if collects:
                gc.enable()
