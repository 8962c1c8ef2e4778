"""What the preparations of corpora to pre-train on share: their utterances, and which of them are held out."""

from collections.abc import Iterable
from typing import NamedTuple


class Utterance(NamedTuple):
    """An utterance of a speaker corpus."""

    id: str
    speaker: str
    session: str  # what was recorded together, such as a video or a chapter
    path: str


def last_tenth(items: Iterable[str]) -> list[str]:
    """The last tenth of the sorted items, at least one; nothing of a single item."""
    items = sorted(items)
    if len(items) < 2:
        return []
    return items[-max(1, round(len(items) / 10)):]


def held_out_split(utterances: Iterable[Utterance]) -> dict[str, str]:
    """Hold out about a tenth of each speaker, in whole sessions where there are enough.

    Returns
    -------
    dict
        Utterance to `train` or `valid`. `valid` is the last tenth of a speaker's sessions, at least one, or the last
        tenth of the utterances of a speaker with fewer than five sessions; one utterance alone is `train`.
    """
    split = {}
    speakers: dict[str, dict[str, list[str]]] = {}
    for utterance in utterances:
        split[utterance.id] = "train"
        sessions = speakers.setdefault(utterance.speaker, {})
        sessions.setdefault(utterance.session, []).append(utterance.id)
    for sessions in speakers.values():
        if len(sessions) >= 5:
            valid = [utt for session in last_tenth(sessions) for utt in sessions[session]]
        else:
            valid = last_tenth(utt for utts in sessions.values() for utt in utts)
        split.update(dict.fromkeys(valid, "valid"))
    return split
