"""The overall loss of section 3.1.3: L = L_Emo + lambda * (L_AD+ + L_AD-)."""

from torch.nn.functional import cross_entropy


def overall_loss(logits, dual, emotions, speakers, weight, class_weights=None):
    """Compute L for a batch; equation 4 summed over the AD modules.

    Parameters
    ----------
    logits : torch.Tensor
        Emotion logits `[B, num_emotions]`.
    dual : list of tuple of torch.Tensor
        f+ and f- of each AD module.
    emotions, speakers : torch.Tensor
        Integer targets `[B]`.
    weight : float
        lambda.
    class_weights : torch.Tensor, optional
        `[num_emotions]`, for the two emotion terms.

    Returns
    -------
    torch.Tensor
        Scalar.
    """
    loss = cross_entropy(logits.float(), emotions, class_weights)
    for relevant, rejected in dual:
        loss = loss + weight * cross_entropy(relevant.float(), emotions, class_weights)
        loss = loss + weight * cross_entropy(rejected.float(), speakers)
    return loss
