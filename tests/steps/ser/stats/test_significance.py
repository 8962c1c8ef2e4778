"""Intervals and paired tests: against scikit-learn, SciPy and enumeration, and their rates in simulations."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from ser.stats import significance


def draw_hypotheses(rng, references, accuracy, seeds=1, num_classes=4):
    right = rng.random((seeds, len(references))) < accuracy
    return np.where(right, references, rng.integers(0, num_classes, right.shape))


def mean_f1(references, hypotheses):
    return 100 * np.mean([f1_score(references, row, average="weighted", zero_division=0) for row in hypotheses])


def within_chance(count, total, rate):
    """Whether a count is what a binomial of that rate gives in 99.9 % of cases."""
    low, high = stats.binom.interval(0.999, total, rate)
    return low <= count <= high


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("seed", range(10))
def test_figure_is_the_mean_of_scikit_learns_over_seeds(seed):
    rng = np.random.default_rng(seed)
    references = rng.integers(0, 3, 25)
    hypotheses = draw_hypotheses(rng, references, 0.4, seeds=3)
    assert significance.mean_weighted_f1(references, hypotheses) == pytest.approx(mean_f1(references, hypotheses))


class Population:
    """Five speakers, unlike in accuracy and in their shares of the classes, of whom utterances are drawn."""

    SIZES = (60, 50, 40, 80, 30)
    UTTERANCES = 5000

    def __init__(self, seed, accuracies):
        self.rng = np.random.default_rng(seed)
        self.speakers = np.repeat(np.arange(5), self.SIZES)
        self.labels = []
        for number in range(5):
            references = self.rng.choice(4, self.UTTERANCES, p=self.rng.dirichlet(np.full(4, 2)))
            hypotheses = [draw_hypotheses(self.rng, references, accuracy[number], seeds=2) for accuracy in accuracies]
            self.labels.append(np.vstack([references, *hypotheses]))

    def figures(self):
        """Weighted F1 of every row of hypotheses on the whole population, speakers weighted by SIZES."""
        weights = np.repeat(self.SIZES, self.UTTERANCES)
        references, *rows = np.hstack(self.labels)
        return 100 * np.array([f1_score(references, row, average="weighted", sample_weight=weights) for row in rows])

    def sample(self):
        columns = [self.rng.integers(0, self.UTTERANCES, size) for size in self.SIZES]
        labels = np.hstack([of_speaker[:, each] for of_speaker, each in zip(self.labels, columns, strict=True)])
        return labels[0], labels[1:]


UNLIKE = (0.1, 0.3, 0.5, 0.7, 0.95)


def test_interval_of_a_figure_covers_at_its_rate():
    population = Population(1, [UNLIKE])
    true, covered = population.figures().mean(), 0
    for _ in range(800):
        low, high = significance.score_interval(*population.sample(), population.speakers, resamples=200)
        covered += low <= true <= high
    assert within_chance(covered, 800, 0.95)


def test_interval_of_a_difference_covers_at_its_rate():
    population = Population(2, [UNLIKE, UNLIKE[::-1]])
    true, covered = population.figures()[:2].mean() - population.figures()[2:].mean(), 0
    for _ in range(800):
        references, rows = population.sample()
        low, high = significance.difference_interval(references, rows[:2], rows[2:], population.speakers, resamples=200)
        covered += low <= true <= high
    assert within_chance(covered, 800, 0.95)


def test_bootstrap_is_scipys_with_speakers_as_samples():
    references, rows = Population(3, [UNLIKE]).sample()
    speakers = np.repeat(np.arange(5), Population.SIZES)

    def statistic(*utterances):  # which is scikit-learn's, only sooner there
        utterances = np.concatenate(utterances)
        return significance.mean_weighted_f1(references[utterances], rows[:, utterances])

    of_speakers = [np.flatnonzero(speakers == number) for number in range(5)]
    expected = stats.bootstrap(of_speakers, statistic, vectorized=False, n_resamples=600, method="percentile",
                               random_state=np.random.default_rng(0))
    values = significance.bootstrap_utterances(references, rows, speakers, resamples=20000).mean(1)
    assert values.std() == pytest.approx(expected.standard_error, rel=0.1)
    # the error of 600 resamples in an end of the interval is about a tenth of the interval's half
    assert significance.percentile_interval(values) == pytest.approx(tuple(expected.confidence_interval),
                                                                   abs=0.6 * values.std())


def test_every_speaker_keeps_the_number_of_utterances():
    """One speaker always right, one always wrong, one with a single utterance: nothing is left to vary."""
    speakers = np.array(["a"] * 20 + ["b"] * 10 + ["c"])
    references, hypotheses = np.zeros(31, dtype=int), np.array([[0] * 20 + [1] * 10 + [0]])
    values = significance.bootstrap_utterances(references, hypotheses, speakers)
    assert values == pytest.approx(mean_f1(references, hypotheses))


def test_neither_the_order_of_utterances_nor_another_run_changes_a_result():
    population = Population(4, [UNLIKE, UNLIKE[::-1]])
    references, rows = population.sample()
    order = np.random.default_rng(0).permutation(len(references))
    interval = significance.score_interval(references, rows, population.speakers)
    assert interval == significance.score_interval(references[order], rows[:, order], population.speakers[order])
    p = [significance.exchange_test(references, rows[:2], rows[2:], permutations=199) for _ in range(2)]
    assert p[0] == p[1]


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_exchange_of_few_utterances_is_the_enumeration_of_all():
    rng = np.random.default_rng(6)
    references = rng.integers(0, 3, 7)
    first, second = draw_hypotheses(rng, references, 0.7, 2, 3), draw_hypotheses(rng, references, 0.2, 2, 3)
    differences = []
    for exchanged in itertools.product([False, True], repeat=7):
        differences.append(mean_f1(references, np.where(exchanged, second, first))
                           - mean_f1(references, np.where(exchanged, first, second)))
    expected = np.mean(np.abs(differences) >= abs(differences[0]) - 1e-9)
    assert 0 < expected < 1
    assert significance.exchange_test(references, first, second) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_exchange_of_few_speakers_is_the_enumeration_of_all():
    """All utterances and seeds of a speaker together; the speakers are unlike in size, and in no order."""
    rng = np.random.default_rng(7)
    speakers = rng.permutation(np.repeat(np.array(["c", "a", "b", "e", "d", "f"]), [3, 9, 5, 2, 7, 4]))
    references = rng.integers(0, 3, len(speakers))
    first, second = draw_hypotheses(rng, references, 0.7, 2, 3), draw_hypotheses(rng, references, 0.4, 2, 3)
    differences = []
    for exchanged in itertools.product([False, True], repeat=6):
        side = np.array(exchanged)[np.unique(speakers, return_inverse=True)[1]]
        differences.append(mean_f1(references, np.where(side, second, first))
                           - mean_f1(references, np.where(side, first, second)))
    expected = np.mean(np.abs(differences) >= abs(differences[0]) - 1e-9)
    assert 2 / 64 < expected < 1
    assert significance.exchange_test(references, first, second, speakers) == pytest.approx(expected)


def test_exchange_of_speakers_is_scipys_paired_test_where_the_figure_counts_correct_utterances():
    """Of references of one class the figure grows with their number, and to exchange systems is to flip a sign."""
    rng = np.random.default_rng(8)
    speakers = np.repeat(np.arange(8), 25)
    first, second = ((rng.random((1, 200)) < rng.uniform(0.6, 1, 8)[speakers]).astype(int) for _ in range(2))
    gains = np.bincount(speakers, weights=second[0] - first[0])
    expected = stats.permutation_test((gains,), np.sum, permutation_type="samples", vectorized=True)
    assert 2 / 256 < expected.pvalue < 1
    assert significance.exchange_test(np.zeros(200, dtype=int), first, second, speakers) == pytest.approx(
        expected.pvalue)


def test_a_single_speaker_says_nothing_over_speakers():
    references = np.array([0, 1, 0, 1])
    assert significance.exchange_test(references, references[None], 1 - references[None], np.zeros(4)) == 1
    for number in (1, significance.MIN_SPEAKERS - 1):
        speakers = np.arange(4 * number) % number
        rows = np.tile(references, number)
        assert significance.speaker_score_interval(rows, rows[None], speakers) is None
        assert significance.speaker_difference_interval(rows, rows[None], rows[None], speakers) is None


def test_bootstrap_of_speakers_is_scipys_with_speakers_as_observations():
    references, rows = Population(3, [UNLIKE]).sample()
    speakers = np.repeat(np.arange(5), Population.SIZES)
    of_speaker = [np.flatnonzero(speakers == number) for number in range(5)]

    def statistic(drawn):  # as above
        utterances = np.concatenate([of_speaker[number] for number in drawn])
        return significance.mean_weighted_f1(references[utterances], rows[:, utterances])

    expected = stats.bootstrap((np.arange(5),), statistic, vectorized=False, n_resamples=1500, method="percentile",
                               random_state=np.random.default_rng(0))
    values = significance.bootstrap_speakers(references, rows, speakers).mean(1)
    assert values.std() == pytest.approx(expected.standard_error, rel=0.06)
    assert significance.percentile_interval(values) == pytest.approx(tuple(expected.confidence_interval),
                                                                   abs=0.2 * values.std())


@pytest.mark.parametrize("num_units", [6, 10, 24, 100])
def test_expanded_interval_of_a_mean_is_students(num_units):
    """On values that are normally distributed as resampled means of n units are."""
    rng = np.random.default_rng(num_units)
    sample = rng.normal(3, 2, num_units)
    resampled = rng.normal(sample.mean(), sample.std() / np.sqrt(num_units), 400000)
    expected = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert significance.expanded_interval(resampled, num_units) == pytest.approx(list(expected), abs=0.06)


@pytest.mark.parametrize("num_speakers, rate", [(6, 0.90), (24, 0.93)])
def test_interval_over_speakers_covers_what_other_speakers_give(num_speakers, rate):
    """Speakers are drawn who suit one of two systems; the utterances' interval misses what all speakers would give."""
    rng = np.random.default_rng(5)
    speakers = np.repeat(np.arange(num_speakers), 30)
    differences, intervals, narrow = [], [], []
    for _ in range(300):
        references = rng.integers(0, 4, len(speakers))
        levels = rng.uniform(0.3, 0.7, num_speakers)
        gains = rng.normal(0.05, 0.15, num_speakers)
        first, second = (draw_hypotheses(rng, references, np.clip(levels + gain, 0, 1)[speakers], seeds=2)
                         for gain in (gains / 2, -gains / 2))
        intervals.append(significance.speaker_difference_interval(references, first, second, speakers, resamples=1000))
        narrow.append(significance.difference_interval(references, first, second, speakers, resamples=100))
        differences.append(significance.mean_weighted_f1(references, first)
                           - significance.mean_weighted_f1(references, second))
    true = np.mean(differences)
    over_speakers, over_utterances = (sum(low <= true <= high for low, high in each) / 300
                                      for each in (intervals, narrow))
    assert rate <= over_speakers <= 0.985 and over_utterances < over_speakers - 0.1


@pytest.mark.parametrize("p_values", [[0.01], [0.01, 0.04, 0.03, 0.005], [0.2, 0.2, 0.9, 0.001], [0.02, 0.02]])
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    """A claim is adjusted to the largest Bonferroni p of all sets of claims that hold it."""
    number = len(p_values)
    sets = [each for size in range(1, number + 1) for each in itertools.combinations(range(number), size)]
    expected = [max(min(1, len(each) * min(p_values[other] for other in each)) for each in sets if claim in each)
                for claim in range(number)]
    assert significance.holm(p_values) == pytest.approx(expected)


def test_holm_of_nothing():
    assert significance.holm([]).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_a_system_with_itself_is_never_significant(seed):
    rng = np.random.default_rng(seed)
    references = rng.integers(0, 4, 5 + 40 * seed)
    hypotheses = draw_hypotheses(rng, references, 0.6, seeds=2)
    assert significance.exchange_test(references, hypotheses, hypotheses, permutations=199) == 1
    speakers = np.arange(len(references)) % 5
    assert significance.difference_interval(references, hypotheses, hypotheses, speakers) == (0, 0)


def rejections(accuracies_of_round, rounds=200):
    """How often the tests over utterances and over speakers (6, of 40 utterances each) give p below 0.05."""
    rng = np.random.default_rng(11)
    speakers, counts = np.repeat(np.arange(6), 40), np.zeros(2, dtype=int)
    for _ in range(rounds):
        references = rng.integers(0, 4, 240)
        first, second = (draw_hypotheses(rng, references, accuracy[speakers], seeds=2)
                         for accuracy in accuracies_of_round(rng))
        counts += (significance.exchange_test(references, first, second, permutations=199) < 0.05,
                   significance.exchange_test(references, first, second, speakers) < 0.05)
    return counts


def test_equally_good_systems_are_told_apart_in_five_of_a_hundred_cases():
    over_utterances, over_speakers = rejections(lambda rng: [np.full(6, 0.5)] * 2)
    assert within_chance(over_utterances, 200, 0.05)
    assert within_chance(over_speakers, 200, 2 / 64)  # of 64 combinations of signs 2 are below 5 %


def test_only_the_test_over_speakers_allows_for_speakers_whom_systems_suit():
    """Each speaker suits one of two systems that are equally good over all possible speakers."""
    over_utterances, over_speakers = rejections(lambda rng: rng.uniform(0.2, 0.8, (2, 6)))
    assert within_chance(over_speakers, 200, 2 / 64)
    assert over_utterances > 60


def test_a_better_system_is_found():
    over_utterances, over_speakers = rejections(lambda rng: [np.full(6, 0.7), np.full(6, 0.4)], rounds=20)
    assert over_utterances == 20 and over_speakers >= 18
