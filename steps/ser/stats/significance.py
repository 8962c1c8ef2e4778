"""How far a weighted F1, or a difference of two, can be trusted: bootstrap intervals and paired tests.

The figure of a system is the mean over its seeds of the pooled weighted F1, in percent. What is drawn anew or exchanged
is a unit, an utterance or a speaker, always with its hypotheses of all seeds together. The trained models are taken as
they are. Labels are integers from 0: `references` `[utterances]`, `hypotheses` `[seeds, utterances]`; `speakers`
`[utterances]` may be of any type.
"""

import numpy as np
from numpy.typing import ArrayLike

from ser.stats.metrics import weighted_f1

RESAMPLES = 2000
SPEAKER_RESAMPLES = 9999  # the ends for few speakers are far out
PERMUTATIONS = 9999
RANDOM_SEED = 0
MIN_SPEAKERS = 6  # of fewer no test over speakers gives p < 5 %


def count_classes(*labels: np.ndarray) -> int:
    return 1 + max(int(each.max()) for each in labels)


def utterance_confusions(references: np.ndarray, hypotheses: np.ndarray, num_classes: int) -> np.ndarray:
    """The confusion matrix of each single utterance, `[utterances, seeds, classes, classes]`."""
    cells = np.eye(num_classes**2)[(references * num_classes + hypotheses).T]
    return cells.reshape(*cells.shape[:2], num_classes, num_classes)


def group_confusions(references: np.ndarray, hypotheses: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The confusion matrix of each group of utterances, `[groups, seeds, classes, classes]`, in sorted order."""
    confusions = utterance_confusions(references, hypotheses, count_classes(references, hypotheses))
    _, rows = np.unique(groups, return_inverse=True)
    summed = np.zeros((rows.max() + 1, *confusions.shape[1:]))
    np.add.at(summed, rows, confusions)
    return summed


def mean_weighted_f1(references: np.ndarray, hypotheses: np.ndarray) -> float:
    """Mean over the seeds of the pooled weighted F1."""
    confusions = utterance_confusions(references, hypotheses, count_classes(references, hypotheses))
    return float(weighted_f1(confusions.sum(0)).mean())


def bootstrap_utterances(references: np.ndarray, hypotheses: np.ndarray, speakers: np.ndarray,
                         resamples: int = RESAMPLES, seed: int = RANDOM_SEED) -> np.ndarray:
    """Weighted F1 of each seed on utterances drawn with replacement within each speaker.

    Every speaker keeps the number of utterances, and an utterance is drawn with its hypotheses of all seeds. A
    speaker's draws are one multinomial over the different columns of labels, which is the same as to draw utterance
    by utterance; `scipy.stats.bootstrap` does the latter, and refuses a speaker with a single utterance.

    Returns
    -------
    numpy.ndarray
        `[resamples, seeds]`
    """
    rng = np.random.default_rng(seed)
    num_classes = count_classes(references, hypotheses)
    num_seeds = len(hypotheses)
    labels = np.vstack([references, hypotheses])
    confusions = np.zeros((resamples, num_seeds, num_classes, num_classes))
    for speaker in np.unique(speakers):
        columns, counts = np.unique(labels[:, speakers == speaker], axis=1, return_counts=True)
        draws = rng.multinomial(counts.sum(), counts / counts.sum(), size=resamples)
        confusions += np.tensordot(draws, utterance_confusions(columns[0], columns[1:], num_classes), axes=1)
    return weighted_f1(confusions)


def bootstrap_speakers(references: np.ndarray, hypotheses: np.ndarray, speakers: np.ndarray,
                       resamples: int = SPEAKER_RESAMPLES, seed: int = RANDOM_SEED) -> np.ndarray:
    """Weighted F1 of each seed on speakers drawn with replacement, each with all utterances.

    Returns
    -------
    numpy.ndarray
        `[resamples, seeds]`
    """
    confusions = group_confusions(references, hypotheses, speakers)
    num_speakers = len(confusions)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(num_speakers, np.full(num_speakers, 1 / num_speakers), size=resamples)
    return weighted_f1(np.tensordot(draws, confusions, axes=1))


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """Both ends of the 95 % percentile interval."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def expanded_interval(values: np.ndarray, num_units: int) -> list[float]:
    """Both ends of a 95 % percentile interval, as wide as few units call for.

    Resamples of n units vary too little, by the factor sqrt((n - 1) / n), and as the normal distribution instead of
    Student's. Percentiles further out make up for both: Phi(-sqrt(n / (n - 1)) t) with t the 97.5 % quantile of n - 1
    degrees of freedom (Hesterberg 2015, "What teachers should know about the bootstrap", 'expanded percentile').
    """
    from scipy.special import ndtr, stdtrit  # takes a fifth of a second, which another interval can do without

    quantile = stdtrit(num_units - 1, 0.975)
    tail = ndtr(-np.sqrt(num_units / (num_units - 1)) * quantile)
    return np.quantile(values, [tail, 1 - tail]).tolist()


def score_interval(references: np.ndarray, hypotheses: np.ndarray, speakers: np.ndarray,
                   resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % interval of the figure of a system, for other utterances of the same speakers.

    Returns
    -------
    tuple of float
        Low and high end.
    """
    return percentile_interval(bootstrap_utterances(references, hypotheses, speakers, resamples).mean(1))


def speaker_score_interval(references: np.ndarray, hypotheses: np.ndarray,
                           speakers: np.ndarray) -> list[float] | None:
    """95 % interval of the figure of a system, for other speakers; None for fewer than MIN_SPEAKERS."""
    if len(np.unique(speakers)) < MIN_SPEAKERS:
        return None
    values = bootstrap_speakers(references, hypotheses, speakers).mean(1)
    return expanded_interval(values, len(np.unique(speakers)))


def difference_interval(references: np.ndarray, first: np.ndarray, second: np.ndarray, speakers: np.ndarray,
                        resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % interval of the figure of `first` minus that of `second`, both on the same drawn utterances.

    Parameters
    ----------
    first, second : numpy.ndarray
        Hypotheses `[seeds, utterances]` of two systems, with as many seeds.
    """
    values = bootstrap_utterances(references, np.vstack([first, second]), speakers, resamples)
    of_first, of_second = np.split(values, 2, axis=1)
    return percentile_interval((of_first - of_second).mean(1))


def speaker_difference_interval(references: np.ndarray, first: np.ndarray, second: np.ndarray, speakers: np.ndarray,
                                resamples: int = SPEAKER_RESAMPLES) -> list[float] | None:
    """The same on the same drawn speakers; None for fewer than MIN_SPEAKERS."""
    if len(np.unique(speakers)) < MIN_SPEAKERS:
        return None
    values = bootstrap_speakers(references, np.vstack([first, second]), speakers, resamples)
    of_first, of_second = np.split(values, 2, axis=1)
    return expanded_interval((of_first - of_second).mean(1), len(np.unique(speakers)))


def exchange_test(references: np.ndarray, first: np.ndarray, second: np.ndarray, units: np.ndarray | None = None,
                  permutations: int = PERMUTATIONS, seed: int = RANDOM_SEED) -> float:
    """Paired permutation test of the difference between the figures of two systems (approximate randomization).

    For every unit the hypotheses of the two systems, those of all seeds together, are exchanged with probability 1/2.
    It takes the units as independent, which utterances of one speaker are not.

    Parameters
    ----------
    first, second : numpy.ndarray
        Hypotheses `[seeds, utterances]` of two systems, with as many seeds.
    units : numpy.ndarray, optional
        Of which unit, such as a speaker, each utterance is; without it each is one by itself.

    Returns
    -------
    float
        Two-sided p, the observed difference counted among the permutations; exact for up to 13 units: all exchanges
        are then fewer than `permutations`. Of n units it is never below 2 / 2^n.
    """
    from scipy import stats  # takes half a second, which an interval does without

    if units is None:
        units = np.arange(len(references))
    confusions = group_confusions(references, np.vstack([first, second]), units)
    of_first, of_second = np.split(confusions, 2, axis=1)
    if len(confusions) < 2:
        return 1.0  # which SciPy does not take
    total = (of_first + of_second).sum(0)
    change = of_first - of_second

    def difference(is_first, _, axis):
        confusions = of_second.sum(0) + np.tensordot(np.moveaxis(is_first, axis, -1), change, axes=1)
        return (weighted_f1(confusions) - weighted_f1(total - confusions)).mean(-1)

    sides = np.ones(len(change)), np.zeros(len(change))
    result = stats.permutation_test(sides, difference, permutation_type="samples", vectorized=True, batch=500,
                                    n_resamples=permutations, random_state=np.random.default_rng(seed))
    return float(result.pvalue)


def holm(p_values: ArrayLike) -> np.ndarray:
    """p values adjusted for how many there are (Holm 1979): below 5 % in the case of no effect at all, for any of them,
    with a probability of 5 % at most.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values)
    left = np.arange(len(p_values), 0, -1)  # how many are not yet told apart
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(left * p_values[order]))
    return adjusted
