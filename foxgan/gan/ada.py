"""The controller of adaptive discriminator augmentation (Karras et al. 2020b, sec. 3.2): p follows how much D overfits."""

import torch
from torch import Tensor

WARN_AT = 0.8  # above this, augmentations begin to leak into the fakes


class AdaController:
    """Moves `p` (a buffer that the augment pipe reads) so that the mean sign of D at augmented reals stays at `target`.

    Unlike the reference, p stays within 0..`p_max`: beyond 1 it would only wind up, and take as long to come back.
    """

    def __init__(self, p: Tensor, target: float, kimg: float, p_max: float, interval: int = 4) -> None:
        self.p, self.target, self.nimg, self.p_max, self.interval = p, target, kimg * 1000, p_max, interval
        self.signs = torch.zeros([], device=p.device)
        self.count = 0

    def observe(self, real_logits: Tensor) -> None:
        """Count the logits of one pass over reals; Dmain and Dreg both report."""
        self.signs += real_logits.detach().sign().sum()
        self.count += real_logits.numel()

    def update(self, batch: int) -> None:
        """Change p by what `interval` steps of `batch` images allow, and begin to count anew."""
        if self.count:
            direction = torch.sign(self.signs / self.count - self.target)
            self.p.copy_((self.p + direction * (batch * self.interval / self.nimg)).clamp(0, self.p_max))
        self.signs.zero_()
        self.count = 0
