"""Probabilities of whole utterances, in batches of similar length."""

import torch

# Of a batch: as many as keep the processor busy, and no more than leave a place in its memory or caches.
_BATCH_FRAMES = {"cpu": 6000, "cuda": 200000}


def posteriors(model, bank, which, precision="fp32"):
    """Score whole utterances.

    Parameters
    ----------
    model : torch.nn.Module
        Takes features `[B, T, dimension]` and lengths `[B]`; gives logits `[B, classes]`, alone or
        as the first of a tuple. It is left in the mode in which it came.
    bank : FeatureBank
    which : torch.Tensor
        Positions of the utterances in the bank.
    precision : str
        `bf16` or `fp32`, in which convolutions and matrix products are computed.

    Returns
    -------
    torch.Tensor
        Probabilities `[len(which), classes]` on the CPU, in the order of `which`.
    """
    was_training = model.training
    model.eval()
    order = torch.argsort(bank.lengths[which], stable=True)
    rows, start, limit = [], 0, _BATCH_FRAMES[bank.device.type]
    with torch.inference_mode(), torch.autocast(bank.device.type, torch.bfloat16, enabled=precision == "bf16"):
        while start < len(order):
            longest = bank.lengths[which[order[start:]]]
            sizes = longest * torch.arange(1, len(longest) + 1, device=longest.device)
            count = max(1, int((sizes <= limit).sum()))
            logits = model(*bank.padded(which[order[start : start + count]]))
            rows.append(torch.softmax((logits[0] if isinstance(logits, tuple) else logits).float(), dim=1).cpu())
            start += count
    model.train(was_training)
    probabilities = torch.empty(len(order), rows[0].shape[1])
    probabilities[order.cpu()] = torch.cat(rows)
    return probabilities


def observed(model, bank, which, module, look):
    """Look at a module of a network while whole utterances are scored, each as it would be alone.

    Parameters
    ----------
    model, bank, which
        As in posteriors().
    module : torch.nn.Module
        Part of the model.
    look : callable
        `(inputs, output)` of the module for a batch to a list with an item for each utterance.

    Returns
    -------
    list
        The items, in the order of `which`.
    """
    items = []
    order = torch.argsort(bank.lengths[which], stable=True)  # posteriors() takes these one behind the other
    hook = module.register_forward_hook(lambda _, inputs, output: items.extend(look(inputs, output)))
    try:
        posteriors(model, bank, which[order])
    finally:
        hook.remove()
    return [items[position] for position in torch.argsort(order).tolist()]
