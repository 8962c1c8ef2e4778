"""Batches made a few steps ahead, so that a GPU does not wait for features that lie in the host's memory."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from ser.base.device import send
from ser.train.augmentation import CropSource

_AHEAD = 3


def prefetch(batches: Iterable[tuple], bank: CropSource) -> Iterator[tuple]:
    """Hand out batches in order while a thread makes the next ones on a CUDA stream of its own.

    Of a bank that lies on its device, and on the CPU, the batches are handed out as they are made.

    Parameters
    ----------
    batches : iterable of tuple
        Of tensors, which are brought to the device, and of anything else.
        Runs in the thread, and so do the bank's crops() in it: what is random in it is drawn there, in the same order.
    bank : CropSource

    Yields
    ------
    tuple
        Tensors on the bank's device. What is still in the host's memory goes there from pinned memory.

    Raises
    ------
    Exception
        What the iterable raises, in the place of the batch.

    Notes
    -----
    When the consumer stops early, the thread ends with the batch that it is making.
    """
    if bank.is_resident:
        yield from batches
        return
    batches = iter(batches)
    stream = None
    if bank.device.type == "cuda":
        stream = torch.cuda.Stream(bank.device)
        stream.wait_stream(torch.cuda.current_stream(bank.device))  # what the iterable reads may still be on its way

    def make():
        batch = next(batches, None)
        if batch is None or stream is None:
            return batch, None
        batch = tuple(send(item, bank.device) if torch.is_tensor(item) and not item.is_cuda else item for item in batch)
        return batch, stream.record_event()

    thread = ThreadPoolExecutor(1, "prefetch")
    if stream:
        thread.submit(torch.cuda.set_stream, stream)  # the current stream is a thread's own setting
    try:
        pending = deque(thread.submit(make) for _ in range(_AHEAD))
        while True:
            batch, made = pending.popleft().result()
            if batch is None:
                return
            if made:
                current = torch.cuda.current_stream(bank.device)
                current.wait_event(made)
                for item in batch:
                    if torch.is_tensor(item):
                        item.record_stream(current)  # its memory is the other stream's
            pending.append(thread.submit(make))
            yield batch
    finally:
        thread.shutdown(cancel_futures=True)
