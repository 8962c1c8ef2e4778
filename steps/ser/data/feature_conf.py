"""Which features a data directory has, by the configurations in its folder conf."""

from collections.abc import Mapping

OTHER_FEATURES = ("ssl.conf", "extracted.conf")  # in the place of fbank.conf


def is_filterbank(features: Mapping[str, str]) -> bool:
    """Whether features with configurations `{name: text}` are filterbanks, whose dimensions are frequencies in their
    order."""
    return features.keys().isdisjoint(OTHER_FEATURES)
