"""A synthetic corpus in the layout of IEMOCAP's full release, with the oddities that a data preparation meets.

Among them: a dialog's letter names the actor with the markers, not the voice; annotators' files in
subfolders; AppleDouble `._` files; carriage returns; a comment that is not UTF-8; a scene whose name is a
prefix of another's; turns that were transcribed but neither rated nor cut.
"""

import math
from typing import NamedTuple

import numpy as np

from local.mini.emotional_delivery import (
    Plan,
    Recording,
    Speaker,
    draw_channel,
    draw_recording,
    draw_speaker,
    rng_of,
)
from local.mini.synthesis import SAMPLE_RATE, Channel

ROOT = "IEMOCAP_full_release"
# improvised turns of a voice for each turn of the rarest class, as uneven as in IEMOCAP
CLASS_RATIO = {"neu": 2.25, "sad": 1.5, "ang": 1.25, "hap": 1.0}
OTHER_TURNS = ("exc", "exc", "fru", "fru", "xxx", "xxx")  # improvised, of every voice
SCRIPTED_TURNS = ("ang", "fru", "neu")  # of every voice
WORDS = {"neu": "Neutral", "hap": "Happiness", "exc": "Excited", "sad": "Sadness", "ang": "Anger",
         "fru": "Frustration"}  # fmt: skip
VALENCE_ACTIVATION_DOMINANCE = {"neu": (3, 2, 3), "hap": (4, 3, 3), "exc": (4, 4, 3), "sad": (2, 2, 2),
                                "ang": (1, 4, 4), "fru": (2, 3, 3), "xxx": (3, 3, 3)}  # fmt: skip
COMMENTS = ("", "curious", "mildly aggravated, staying polite")
HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
CRLF_DIALOG = "Ses02F_impro01"
LATIN1_DIALOG = "Ses03M_impro01"
UNCUT_DIALOG = "Ses03F_impro06"
APPLE_DOUBLE = (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \x00\x02"
                b"\x00\x00\x00\x09\x00\x00\x00\x32\x00\x00\x00\xac\x00\x00\x00\x02\x00\x00\x00\xde\x00\x00\x00\x00"
                + bytes(172))  # fmt: skip


class Annotation(NamedTuple):
    """How a turn is rated."""

    lines: str  # of the annotators, in the dialog's file
    ratings: np.ndarray  # mean valence, activation, dominance
    own_files: dict[str, str]  # the turn's line in the files of single annotators, by path


def plan_iemocap(seed: int, rarest: int) -> Plan:
    """Draw the corpus; `rarest` is how many improvised turns each of the ten voices has of the rarest class."""
    recordings = []
    files = {}
    for session in range(1, 6):
        # Emotions of the turns, by dialog and voice
        turns: dict[str, dict[str, list[str]]] = {}
        for letter in "FM":
            rng = rng_of(seed, "turns", session, letter)
            rated = [label for label, ratio in CLASS_RATIO.items() for _ in range(round(ratio * rarest))]
            improvised = rng.permutation(rated + list(OTHER_TURNS)).tolist()
            _deal(turns, letter, improvised, _improvised_dialogs(session))
            scripted = rng.permutation(SCRIPTED_TURNS).tolist()
            _deal(turns, letter, scripted, _scripted_dialogs(session))

        # Recordings and label files
        speakers = {letter: draw_speaker(f"Ses0{session}{letter}", letter == "F",
                                         rng_of(seed, "speaker", session, letter)) for letter in "FM"}
        channels = {letter: draw_channel(rng_of(seed, "channel", session, letter)) for letter in "FM"}
        for dialog, emotions in turns.items():
            dialog_turns = [_draw_turn(seed, dialog, speakers[letter], channels[letter], number, emotion)
                            for letter in "FM" for number, emotion in enumerate(emotions[letter])]
            recordings += dialog_turns
            files.update(_dialog_files(dialog, dialog_turns, rng_of(seed, "annotation", dialog)))
    for path in ("dialog/EmoEvaluation/._Ses01F_impro01.txt", "dialog/transcriptions/._Ses01F_impro01.txt",
                 "sentences/wav/._Ses01F_impro01", "sentences/wav/Ses01F_impro01/._Ses01F_impro01_F000.wav"):
        files[f"{ROOT}/Session1/{path}"] = APPLE_DOUBLE
    return Plan(recordings, files)


def _improvised_dialogs(session: int) -> list[str]:
    """Two for each actor with the markers."""
    scene_of_man, scene_of_woman = ("impro05a", "impro06") if session == 3 else ("impro03", "impro04")
    return [f"Ses0{session}F_impro01", f"Ses0{session}F_{scene_of_woman}",
            f"Ses0{session}M_impro01", f"Ses0{session}M_{scene_of_man}"]


def _scripted_dialogs(session: int) -> list[str]:
    scenes = ["script01_1", "script01_1b"] if session == 5 else ["script01_1"]
    return [f"Ses0{session}M_{scene}" for scene in scenes] + [f"Ses0{session}F_script01_1"]


def _deal(turns: dict[str, dict[str, list[str]]], letter: str, emotions: list[str], dialogs: list[str]) -> None:
    """Deal the emotions of one voice over dialogs, like cards."""
    for number, dialog in enumerate(dialogs):
        turns.setdefault(dialog, {})[letter] = emotions[number :: len(dialogs)]


def _draw_turn(seed: int, dialog: str, speaker: Speaker, channel: Channel, number: int, emotion: str) -> Recording:
    name = f"{dialog}_{speaker.name[-1]}{number:03d}"
    return draw_recording(f"{ROOT}/Session{dialog[4]}/sentences/wav/{dialog}/{name}.wav", f"{speaker.name}-{name}",
                          "iemocap", speaker, emotion, (1.0, 2.0), seed, channel)


def _draw_times(turns: list[Recording], clock: int, rng: np.random.Generator) -> tuple[dict[str, tuple[int, int]], int]:
    """Start and end of each utterance, and when the dialog ends, in units of 0.1 ms; `clock` is the first start."""
    times = {}
    waiting = {letter: iter([turn for turn in turns if turn.speaker[-1] == letter]) for letter in "FM"}
    for letter in rng.permutation([turn.speaker[-1] for turn in turns]):
        turn = next(waiting[letter])
        length = math.ceil(turn.samples * 10000 / SAMPLE_RATE)
        times[turn.utt] = (clock, clock + length)
        clock += length + 2000 + int(rng.integers(15000))
    return times, clock


def _dialog_files(dialog: str, turns: list[Recording], rng: np.random.Generator) -> dict[str, bytes]:
    """Evaluation, annotators' files and transcription of one dialog, F turns before M turns in `turns`."""
    times, clock = _draw_times(turns, 60000 + int(rng.integers(30000)), rng)
    evaluation = HEADER
    annotators: dict[str, str] = {}
    transcript = {}
    for turn in turns:
        name = turn.utt.split("-")[1]
        start, end = times[turn.utt]
        annotation = _draw_annotation(name, turn.emotion, dialog, rng)
        ratings = ", ".join(f"{value:.4f}" for value in annotation.ratings)
        evaluation += (f"[{start / 1e4:.4f} - {end / 1e4:.4f}]\t{name}\t{turn.emotion}\t[{ratings}]\n"
                       f"{annotation.lines}\n")
        for path, line in annotation.own_files.items():
            annotators[path] = annotators.get(path, "") + line
        words = " ".join(consonant + vowel for consonant, vowel in turn.syllables).capitalize()
        transcript[start] = f"{name} [{start / 1e4:08.4f}-{end / 1e4:08.4f}]: {words}.\n"
    if dialog == UNCUT_DIALOG:
        transcript[clock] = f"{dialog}_MXX0 [{clock / 1e4:08.4f}-{clock / 1e4 + 1:08.4f}]: Mm.\n"
    texts = {f"EmoEvaluation/{dialog}.txt": evaluation, **annotators,
             f"transcriptions/{dialog}.txt": "".join(transcript[start] for start in sorted(transcript))}
    eol = "\r\n" if dialog == CRLF_DIALOG else "\n"
    return {f"{ROOT}/Session{dialog[4]}/dialog/{path}": text.replace("\n", eol).encode("latin-1")
            for path, text in texts.items()}


def _draw_annotation(name: str, emotion: str, dialog: str, rng: np.random.Generator) -> Annotation:
    # Votes of three annotators for an emotion
    words = list(WORDS.values())
    if emotion == "xxx":
        votes = rng.choice(words, 3, replace=False).tolist()
    else:
        votes = [WORDS[emotion], WORDS[emotion], words[rng.integers(len(words))]]
    comment = "déjà vu" if dialog == LATIN1_DIALOG else rng.choice(COMMENTS)
    actor = f"{name[-4]}1"
    lines = "".join(f"C-E{n}:\t{vote};\t()\n" for n, vote in zip((2, 3, 4), votes, strict=True))
    lines += f"C-{actor}:\t{votes[0]}; {votes[2]};\t({comment})\n"

    # Ratings by three annotators
    ratings = {who: np.clip(VALENCE_ACTIVATION_DOMINANCE[emotion] + rng.integers(-1, 2, 3), 1, 5)
               for who in ("E3", "E4", actor)}
    for who, (valence, activation, dominance) in ratings.items():
        lines += f"A-{who}:\tval {valence}; act {activation}; dom  {dominance};\t()\n"
    valence, activation, dominance = ratings["E3"]
    return Annotation(lines, (ratings["E3"] + ratings["E4"]) / 2, {
        f"EmoEvaluation/Categorical/{dialog}_e2_cat.txt": f"{name} :{votes[0]}; ()\n",
        f"EmoEvaluation/Attribute/{dialog}_e3_atr.txt":
            f"{name} :act {activation}; :val {valence}; :dom {dominance}; ()\n",
        f"EmoEvaluation/Self-evaluation/{dialog}_{actor.lower()}_cat.txt": f"{name} :{votes[0]}; ({comment})\n",
    })
