# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which object of a sentence has its turn, decided once for all of an observation.

"Put the red block, then the blue one on the plate": which of them to act on now is no property of
the place where either lies. A map that one filter makes has to find the second object by the state
of the first, elsewhere in the image and often out of the wrist camera's sight. In trained towers
such a map missed the second object in a third of the images in which it had its turn, although the
map that always shows that object missed it in 2 % (docs/tiny_sim.md). So this mixes the two.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_adapter_ros.model.small.positions import around_peak, mean_position

# Maps in the order of `simulation/attention_points.py`.
NOW, DESTINATION, FIRST, SECOND = range(4)


class Turn(nn.Module):
    """Adds to the first map the scores of the sentence's first object, or of its second one.

    What the first object looks like now, and where it and its destination are, says whether it is
    still to be acted on: whether it lies there, and nothing holds it.

    Args:
        width: channels of the features.
        film_width: of FiLM's vector.
        hidden: channels of the decision.
        cameras: images of an observation, which decide together.
    """

    def __init__(self, width: int, film_width: int, hidden: int, cameras: int) -> None:
        super().__init__()
        self.cameras = cameras
        self.seen = nn.Linear(2 * (width + 3), hidden)
        self.told = nn.Linear(film_width, hidden)
        self.share = nn.Linear(hidden, 1)

    def forward(self, features: Tensor, scores: Tensor, language: Tensor) -> Tensor:
        """Return the scores with another first map.

        Args:
            features: (B * cameras, width, h, w), of which the scores were made.
            scores: (B * cameras, K, h, w), the four maps first.
            language: (B * cameras, film_width), the same for all cameras of an observation.
        """
        share = self._first_share(features, scores, language)
        mixed = torch.lerp(scores[:, SECOND], scores[:, FIRST], share)
        return torch.cat(((scores[:, NOW] + mixed)[:, None], scores[:, 1:]), dim=1)

    def _first_share(self, features: Tensor, scores: Tensor, language: Tensor) -> Tensor:
        """Return how much it is the first object's turn, 0 to 1, (B * cameras, 1, 1)."""
        shown = scores[:, DESTINATION : FIRST + 1]
        mass = shown.flatten(2).softmax(dim=-1)
        peak = mass.amax(-1)
        mass = around_peak(mass.unflatten(-1, shown.shape[2:]))
        looks = mass.flatten(2) @ features.flatten(2).mT  # (B * cameras, 2, width)
        seen = torch.cat((looks.flatten(1), *mean_position(mass), peak), dim=-1)
        views = self.seen(seen).unflatten(0, (-1, self.cameras)).sum(1)
        told = self.told(language[:: self.cameras])
        share = torch.sigmoid(self.share(F.gelu(views + told)))
        return share.repeat_interleave(self.cameras, dim=0)[..., None]
