"""What is published of IEMOCAP: utterances per speaker (the voice) and label, and checksums of whole sets.

The counts follow from the label lists that EmoBox (emo-box/EmoBox), s3prl (s3prl/s3prl) and
Dialogical-Emotion-Decoding (adam1214) publish, which agree with each other.
"""

LABELS = ("neu", "sad", "ang", "hap", "exc")


def _table(text: str) -> dict[str, dict[str, int]]:
    rows = (line.split() for line in text.strip().splitlines())
    return {speaker: dict(zip(LABELS, map(int, numbers), strict=True)) for speaker, *numbers in rows}


COUNTS = {
    "improvised": _table("""
        Ses01F 119  43 37 18  54
        Ses01M 104  61 25 15  45
        Ses02F  90  63  7 25  88
        Ses02M 127  37 15 29  49
        Ses03F  95 108 22 39  41
        Ses03M 103  82 68 21  48
        Ses04F  51  41 47 10 119
        Ses04M 123  40 37 21  45
        Ses05F 151  73 18 56  68
        Ses05M 136  60 13 50 106"""),
    "all": _table("""
        Ses01F 171  78 147 69  63
        Ses01M 213 116  82 66  80
        Ses02F 135 113  67 70  96
        Ses02M 227  84  70 47 114
        Ses03F 130 172  92 80  48
        Ses03M 190 133 148 55 103
        Ses04F  76  62 205 31 154
        Ses04M 182  81 122 34  84
        Ses05F 221 132  78 77  82
        Ses05M 163 113  92 66 217"""),
}

# sha256 of the lines `<utterance> <speaker> <label>`, ids as in the corpus, sorted by LC_ALL=C; none for iemocap-all-4
CHECKSUMS = {
    "iemocap-impro-4": "63f4c4d272bda9cea5e91b5c1a6c4eb48265b51bca077f46d1280a61107ad73b",
    "iemocap-impro-4-exc": "24a12d340a45aada30f6560ce8cbe2271c7c02c3dd00bce03c67aa883c728d86",
    "iemocap-all-4-exc": "c360ce3160d8edecdba10f9609655b6a4977cb6d489c9084b45a48a40dac4912",
}


def counts_of(scope: str, merge_excited: bool) -> dict[str, dict[str, int]]:
    """Published four-class counts `{speaker: {label: number}}`; excited is happy when merged, else left out."""
    counts = {}
    for speaker, row in COUNTS[scope].items():
        happy = row["hap"] + row["exc"] if merge_excited else row["hap"]
        counts[speaker] = {"neu": row["neu"], "hap": happy, "ang": row["ang"], "sad": row["sad"]}
    return counts
