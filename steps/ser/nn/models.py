"""The two networks: speaker identification for pre-training, emotion recognition for fine-tuning."""

import torch
from torch import nn

from ser.base.errors import UserError
from ser.nn.adapters import add_adapters
from ser.nn.adversary import SpeakerAdversary
from ser.nn.attention import ATTENTIONS
from ser.nn.backbones import BACKBONES
from ser.nn.disentanglement import AttributeDisentanglement
from ser.nn.margin_softmax import CosineClassifier
from ser.nn.options import EmotionModelConfig
from ser.nn.padding import mask_frames
from ser.nn.pooling import POOLINGS


class Extractor(nn.Module):
    """A backbone with AD modules after any of its layers, and poolings of their spaces and of the last map.

    Parameters
    ----------
    backbone : str
        Key of BACKBONES.
    dimension : int
        Features per frame.
    pooling : str
        Key of POOLINGS.
    ad_after, attention, attention_dim, train_extractor
        As in EmotionModelConfig.

    Attributes
    ----------
    last_layer : str
    outputs : int
        Size of the embedding.
    ad_outputs : dict of str to int
        Size of the pooled F+ and F- of each AD module.
    pools : torch.nn.ModuleDict
        The poolings by layer: one after each layer with an AD module, and one after the last layer. With AD after the
        last layer, the classifier and both heads of equation 4 see the same function.

    Raises
    ------
    UserError
        `ad_after` names a layer that the backbone does not have, or the backbone takes no adapters.
    """

    feature_mean: torch.Tensor
    feature_std: torch.Tensor

    def __init__(self, backbone: str, dimension: int, pooling: str, ad_after: str = "none", attention: str = "tf",
                 attention_dim: int = 8, train_extractor: str = "all"):
        super().__init__()
        # Backbone.
        table = BACKBONES[backbone](dimension)
        self.layers = nn.ModuleDict({name: layer for name, (layer, _) in table.items()})
        channels = {name: count for name, (_, count) in table.items()}
        self.last_layer = list(table)[-1]
        self.register_buffer("feature_mean", torch.zeros(dimension))
        self.register_buffer("feature_std", torch.ones(dimension))

        # AD modules.
        names = [] if ad_after == "none" else ad_after.split(",")
        self.ad = nn.ModuleDict()
        for name in names:
            name = self.last_layer if name == "last" else name
            if name not in channels:
                raise UserError(f"ad-after: {backbone} has no layer {name!r}; it has {', '.join(channels)}")
            mask = None if attention == "none" else ATTENTIONS[attention](channels[name], attention_dim)
            self.ad[name] = AttributeDisentanglement(channels[name], mask)

        # Poolings.
        frequencies = _frequencies_after(self.layers, dimension)
        pools = {name: POOLINGS[pooling](channels[name], frequencies[name])
                 for name in channels if name in self.ad or name == self.last_layer}
        self.pools = nn.ModuleDict(pools)
        self.outputs = pools[self.last_layer].outputs
        self.ad_outputs = {name: pools[name].outputs for name in self.ad}

        self.frozen = train_extractor == "none"
        if self.frozen:
            self.layers.requires_grad_(False)
        elif train_extractor == "adapters":
            add_adapters(self.layers)

    @property
    def last_ad(self) -> str | None:
        """Name of the layer after which the last AD module sits, or None."""
        return next((name for name in reversed(list(self.layers)) if name in self.ad), None)

    def train(self, mode: bool = True) -> "Extractor":
        """Set training mode, but for frozen layers: they keep the batch statistics of the pre-training."""
        super().train(mode)
        if self.frozen:
            self.layers.eval()
        return self

    def set_feature_statistics(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Normalize every input by these, float32 `[dimension]` each, from now on."""
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(std)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor | None = None
                ) -> tuple[torch.Tensor, dict[str, tuple[torch.Tensor, torch.Tensor]]]:
        """Embed a batch.

        Parameters
        ----------
        features : torch.Tensor
            `[B, T, dimension]`.
        lengths : torch.Tensor, optional
            `[B]` valid frames; None when all are.

        Returns
        -------
        embedding : torch.Tensor
            The last map pooled, `[B, outputs]`.
        spaces : dict of str to tuple of torch.Tensor
            For each AD module the pooled F+ and F-, `[B, ad_outputs]` each.
        """
        x = ((features - self.feature_mean) / self.feature_std)[:, None]  # [B, 1, T, dimension]
        x = mask_frames(x, lengths)
        spaces = {}
        for name, layer in self.layers.items():
            x, lengths = layer(x, lengths)  # [B, C, T', F'], [B]
            if name in self.ad:
                x, rejected = self.ad[name](x, lengths)
                pool = self.pools[name]
                spaces[name] = pool(x, lengths), pool(rejected, lengths)
        if self.last_layer in spaces:  # F+ is the last map, and is pooled already
            return spaces[self.last_layer][0], spaces
        return self.pools[self.last_layer](x, lengths), spaces


def _frequencies_after(layers: nn.ModuleDict, dimension: int) -> dict[str, int]:
    """Frequencies of the map after each layer, as a single frame of that many features tells."""
    frequencies = {}
    layers.eval()
    with torch.no_grad():
        x = torch.zeros(1, 1, 1, dimension)
        for name, layer in layers.items():
            x, _ = layer(x, None)
            frequencies[name] = x.shape[3]
    layers.train()
    return frequencies


class SpeakerModel(nn.Module):
    """Extractor and a speaker classifier (section 2): linear, or cosines for an angular margin.

    Parameters
    ----------
    backbone : str
        Key of BACKBONES.
    dimension : int
        Features per frame.
    num_speakers : int
    pooling : str
        Key of POOLINGS.
    is_cosine : bool
        Whether the classifier is a CosineClassifier.
    """

    def __init__(self, backbone: str, dimension: int, num_speakers: int, pooling: str = "mean",
                 is_cosine: bool = False):
        super().__init__()
        self.extractor = Extractor(backbone, dimension, pooling)
        classifier = CosineClassifier if is_cosine else nn.Linear
        self.classifier = classifier(self.extractor.outputs, num_speakers)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Map `[B, T, dimension]` to speaker logits or cosines `[B, num_speakers]`."""
        embedding, _ = self.extractor(features, lengths)  # [B, outputs]
        return self.classifier(embedding)


class EmotionModel(nn.Module):
    """Extractor, emotion classifier, the two heads of equation 4 on each AD module, and the speaker adversary.

    Parameters
    ----------
    config : EmotionModelConfig
    dimension : int
        Features per frame.
    num_emotions, num_speakers : int
        Sizes of the heads; the speakers are those of the training part.
    """

    def __init__(self, config: EmotionModelConfig, dimension: int, num_emotions: int, num_speakers: int):
        super().__init__()
        self.extractor = Extractor(config.backbone, dimension, config.pooling, config.ad_after, config.attention,
                                   config.attention_dim, config.train_extractor)
        self.classifier = nn.Linear(self.extractor.outputs, num_emotions)
        self.shared_head = config.ad_head == "shared"
        sizes = self.extractor.ad_outputs
        if self.shared_head and any(size != self.extractor.outputs for size in sizes.values()):
            raise UserError("ad-head shared needs AD modules whose pooled size is the classifier's; use own")
        self.emotion_heads = nn.ModuleDict()
        if not self.shared_head:
            self.emotion_heads.update({name: nn.Linear(size, num_emotions) for name, size in sizes.items()})
        self.speaker_heads = nn.ModuleDict({name: nn.Linear(size, num_speakers) for name, size in sizes.items()})
        self.adversary = None
        if config.adversary_weight:
            self.adversary = SpeakerAdversary(self.extractor.outputs, num_speakers, config.adversary_weight)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor | None = None
                ) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor | None]:
        """Score a batch.

        Parameters
        ----------
        features : torch.Tensor
            `[B, T, dimension]`.
        lengths : torch.Tensor, optional
            `[B]` valid frames.

        Returns
        -------
        logits : torch.Tensor
            `[B, num_emotions]`.
        dual : list of tuple of torch.Tensor
            For each AD module f+ `[B, num_emotions]` and f- `[B, num_speakers]` (equation 4).
        adversary : torch.Tensor or None
            Speaker logits `[B, num_speakers]` whose gradient is reversed before it reaches the embedding.
        """
        embedding, spaces = self.extractor(features, lengths)
        dual = []
        for name, (relevant, rejected) in spaces.items():
            head = self.classifier if self.shared_head else self.emotion_heads[name]
            dual.append((head(relevant), self.speaker_heads[name](rejected)))
        adversary = None if self.adversary is None else self.adversary(embedding)
        return self.classifier(embedding), dual, adversary
