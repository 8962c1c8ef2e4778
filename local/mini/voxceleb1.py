"""A synthetic corpus in VoxCeleb1's split layout: many voices, a few utterances of each.

Every utterance is of another video, and a video has a channel of its own: to tell the speakers apart, a network must
hear the voice through it.
"""

import string

import numpy as np

from local.mini.emotional_delivery import Plan, draw_channel, draw_recording, draw_speaker, rng_of

ROOT = "VoxCeleb1"
FIRST_TEST_ID = 10270
META_HEADER = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
# Interviews are spoken so.
EMOTIONS = ("neu", "hap", "sad", "ang")
SHARES = (0.7, 0.2, 0.05, 0.05)
NATIONS = ("Ireland", "New Zealand", "India", "USA")


def plan_voxceleb1(seed: int, speakers: int, utterances: int) -> Plan:
    """Draw the corpus of so many `speakers`, at least two, with so many `utterances` each, at least two."""
    tested = max(1, speakers // 8)
    ids = [10001 + n for n in range(speakers - tested)] + [FIRST_TEST_ID + n for n in range(tested)]
    recordings = []
    meta = META_HEADER
    for number, identity in enumerate(ids):
        part = "test" if identity >= FIRST_TEST_ID else "dev"
        rng = rng_of(seed, "voxceleb1", identity)
        female = number % 2 == 0
        speaker = draw_speaker(f"id{identity}", female, rng)
        meta += (f"id{identity}\tSynthetic_Voice_{number + 1}\t{'f' if female else 'm'}\t"
                 f"{NATIONS[number % len(NATIONS)]}\t{part}\n")
        for _ in range(utterances):
            video = _video_id(number, rng)
            segment = f"{rng.integers(1, 100):05d}"
            recordings.append(draw_recording(
                f"{ROOT}/{part}/wav/id{identity}/{video}/{segment}.wav", f"id{identity}-{video}-{segment}", "voxceleb1",
                speaker, str(rng.choice(EMOTIONS, p=SHARES)), (1.5, 2.0), seed, draw_channel(rng)))
    return Plan(recordings, {f"{ROOT}/vox1_meta.csv": meta.encode()})


def _video_id(number: int, rng: np.random.Generator) -> str:
    """Eleven characters of YouTube's alphabet; every fourth speaker's begin with a dash, the next one's with `_`."""
    letters = list(string.ascii_letters + string.digits + "-_")
    first = {0: "-", 1: "_"}.get(number % 4, "v")
    return first + "".join(rng.choice(letters, 10))
