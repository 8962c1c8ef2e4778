"""Figures that the paper prints, for tables on the paper's data only."""

# Table 2: weighted F1 in percent.
TABLE_2 = {
    "resnet18_baseline": "55.47",
    "resnet18_pretrain": "62.24",
    "resnet18_pretrain_ad": "68.19",
    "vgg5_baseline": "61.84",
    "vgg5_ad": "64.34",
}

# Table 3: F1 in percent, by model; [n] are the paper's references. PROPOSED is the paper's own system.
PROPOSED = "resnet18_pretrain_ad"
TABLE_3 = {
    "ICON [25]": "63.0",
    "MCED [26]": "60.1",
    "CopyPaste [6]": "63.78",
}


def is_the_papers(dataset: str) -> bool:
    """Whether a dataset is IEMOCAP's improvised part with four classes, excited merged or not."""
    return dataset in ("iemocap-impro-4", "iemocap-impro-4-exc")
