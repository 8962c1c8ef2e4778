"""What the networks and their loss can be asked to be; without torch, which takes a second to import."""

from dataclasses import dataclass, field

# Keys of the tables of the same names in backbones.py, attention.py and pooling.py.
BACKBONES = ("resnet18", "vgg5", "conv1d")
ATTENTIONS = ("tf", "se")
POOLINGS = ("mean", "time", "stats", "attentive")
# Which of L_AD+ and L_AD- count.
AD_LOSSES = {"both": (1, 1), "plus": (1, 0), "minus": (0, 1), "none": (0, 0)}


@dataclass(frozen=True)
class EmotionModelConfig:
    """What fixes the shape of an emotion model, and which part of it learns."""

    backbone: str = field(default="resnet18", metadata={"help": "feature extractor", "choices": BACKBONES})
    ad_after: str = field(default="none", metadata={
        "help": "layer of the extractor after which an AD module sits, several with commas, 'last', or 'none'"})
    attention: str = field(default="tf", metadata={
        "help": "attention of the attribute reconstruction; none is attribute normalization alone",
        "choices": (*ATTENTIONS, "none")})
    attention_dim: int = field(default=8, metadata={"help": "D of equation 5"})
    pooling: str = field(default="mean", metadata={
        "help": "pool() of equation 4, over the last map and over F+ and F- of each AD module: mean over time and "
        "frequency; with the frequencies kept, mean over time, mean and deviation (stats), attentive statistics",
        "choices": POOLINGS})
    ad_head: str = field(default="own", metadata={
        "help": "emotion head of L_AD+: its own, or shared with the classifier", "choices": ("own", "shared")})
    train_extractor: str = field(default="all", metadata={
        "help": "what learns of the extractor beside its AD modules and poolings: all; residual adapters and batch "
        "normalization; none, where batch normalization keeps its statistics, too",
        "choices": ("all", "adapters", "none")})
    adversary_weight: float = field(default=0.0, metadata={
        "help": "factor on the reversed gradient of a speaker classifier on the embedding; 0 is without"})

    def __post_init__(self) -> None:
        if self.adversary_weight < 0:
            raise ValueError(f"adversary-weight must be 0 or more, not {self.adversary_weight}")
