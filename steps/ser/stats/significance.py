"""How far a weighted F1, or a difference of two, can be trusted: bootstrap intervals and paired tests.

The figure of a system is the mean over its seeds of the pooled weighted F1, in percent. The trained models are taken
as they are: what is resampled are utterances or speakers, never trainings. Labels are integers from 0: `references`
`[utterances]`, `hypotheses` `[seeds, utterances]`; `speakers` `[utterances]` may be of any type.
"""

import numpy as np
from numpy.typing import ArrayLike

from ser.stats.metrics import weighted_f1

RESAMPLES = 2000
PERMUTATIONS = 9999
RANDOM_SEED = 0


def count_classes(*labels: np.ndarray) -> int:
    return 1 + max(int(each.max()) for each in labels)


def utterance_confusions(references: np.ndarray, hypotheses: np.ndarray, num_classes: int) -> np.ndarray:
    """The confusion matrix of each single utterance, `[utterances, seeds, classes, classes]`."""
    cells = np.eye(num_classes**2)[(references * num_classes + hypotheses).T]
    return cells.reshape(*cells.shape[:2], num_classes, num_classes)


def mean_weighted_f1(references: np.ndarray, hypotheses: np.ndarray) -> float:
    """Mean over the seeds of the pooled weighted F1."""
    confusions = utterance_confusions(references, hypotheses, count_classes(references, hypotheses))
    return float(weighted_f1(confusions.sum(0)).mean())


def bootstrap(references: np.ndarray, hypotheses: np.ndarray, speakers: np.ndarray, resamples: int = RESAMPLES,
              seed: int = RANDOM_SEED) -> np.ndarray:
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


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """Both ends of the 95 % percentile interval."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def score_interval(references: np.ndarray, hypotheses: np.ndarray, speakers: np.ndarray,
                   resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % interval of the figure of a system, for other utterances of the same speakers.

    Returns
    -------
    tuple of float
        Low and high end.
    """
    return percentile_interval(bootstrap(references, hypotheses, speakers, resamples).mean(1))


def difference_interval(references: np.ndarray, first: np.ndarray, second: np.ndarray, speakers: np.ndarray,
                        resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % interval of the figure of `first` minus that of `second`, both on the same drawn utterances.

    Parameters
    ----------
    first, second : numpy.ndarray
        Hypotheses `[seeds, utterances]` of two systems, with as many seeds.
    """
    values = bootstrap(references, np.vstack([first, second]), speakers, resamples)
    of_first, of_second = np.split(values, 2, axis=1)
    return percentile_interval((of_first - of_second).mean(1))


def exchange_test(references: np.ndarray, first: np.ndarray, second: np.ndarray, permutations: int = PERMUTATIONS,
                  seed: int = RANDOM_SEED) -> float:
    """Approximate randomization test of the difference between the figures of two systems.

    For every utterance the hypotheses of the two systems, those of all seeds together, are exchanged with
    probability 1/2. It speaks of these utterances, which it takes as independent, and of these trained models.

    Returns
    -------
    float
        Two-sided p, the observed difference counted among the permutations; exact for a dozen utterances.
    """
    from scipy import stats  # takes a third of a second, which an interval can do without

    num_classes = count_classes(references, first, second)
    of_first = utterance_confusions(references, first, num_classes)
    of_second = utterance_confusions(references, second, num_classes)
    total = (of_first + of_second).sum(0)
    change = of_first - of_second

    def difference(is_first, _, axis):
        confusions = of_second.sum(0) + np.tensordot(np.moveaxis(is_first, axis, -1), change, axes=1)
        return (weighted_f1(confusions) - weighted_f1(total - confusions)).mean(-1)

    sides = np.ones(len(references)), np.zeros(len(references))
    result = stats.permutation_test(sides, difference, permutation_type="samples", vectorized=True, batch=500,
                                    n_resamples=permutations, random_state=np.random.default_rng(seed))
    return float(result.pvalue)


def sign_flip_test(differences: ArrayLike, permutations: int = PERMUTATIONS, seed: int = RANDOM_SEED) -> float:
    """Permutation test of the mean of differences, one for each speaker, whose signs are flipped.

    Returns
    -------
    float
        Two-sided p; exact for up to 13 speakers: all combinations of signs are then fewer than `permutations`.
    """
    from scipy import stats

    result = stats.permutation_test((np.asarray(differences),), np.mean, permutation_type="samples", vectorized=True,
                                    n_resamples=permutations, random_state=np.random.default_rng(seed))
    return float(result.pvalue)
