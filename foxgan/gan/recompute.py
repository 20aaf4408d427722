"""Activation checkpointing for derivatives of every order (Chen et al. 2016), so that it lowers the peak of R1 and path length, too.

torch's own computes the maps of a block again for the first derivative, but keeps them when that is to be differentiated itself.
Here the derivative of a block is a function like the block, of its inputs and of the gradients of its outputs: it keeps these alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

Tensors = tuple[Tensor | None, ...]
Function = Callable[..., Tensors]


def recomputed(block: nn.Module, *inputs: Tensor | None) -> Any:
    """What `block`, which must draw no random numbers, makes of `inputs`.

    Its gradients are the same to the bit; a gradient of gradients may be summed up in another order.
    """
    names, params = zip(*block.named_parameters(), strict=True)

    def function(*tensors: Tensor | None) -> Tensors:
        own = dict(zip(names, tensors, strict=False))
        outputs: Tensors = functional_call(block, own, tensors[len(names) :])
        return outputs

    return _Recomputed.apply(function, *params, *inputs)


class _Recomputed(torch.autograd.Function):
    """`function` of tensors, of which only the inputs are kept. What it returns may be None, or one of its inputs."""

    @staticmethod
    def forward(ctx: Any, function: Function, *inputs: Tensor | None) -> Tensors:
        ctx.function = function
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        return function(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Tensors:
        function, inputs = ctx.function, ctx.saved_tensors
        if isinstance(function, _Derivative):
            function = function.only(g is not None for g in grads)
        derivative = _Derivative(function, ctx.needs_input_grad[1:])
        if torch.is_grad_enabled():  # this one will be differentiated, too
            return (None, *_Recomputed.apply(derivative, *inputs, *grads))
        return (None, *derivative(*inputs, *grads))


@dataclass(frozen=True)
class _Derivative:
    """The gradients for those inputs of `function` that are `wanted`, as a function of its inputs and the gradients of its outputs."""

    function: Function
    wanted: tuple[bool, ...]

    def only(self, needed: Iterable[bool]) -> "_Derivative":
        """Less work: nobody asks for the gradients, say, of weights when those of an image are differentiated."""
        return replace(self, wanted=tuple(w and n for w, n in zip(self.wanted, needed, strict=True)))

    def __call__(self, *tensors: Tensor | None) -> Tensors:
        """Differentiable themselves where gradients are enabled."""
        inputs, grads = tensors[: len(self.wanted)], tensors[len(self.wanted) :]
        differentiable = torch.is_grad_enabled()
        if not differentiable:
            pairs = zip(inputs, self.wanted, strict=True)
            inputs = tuple(x if x is None else x.detach().requires_grad_(w) for x, w in pairs)
        with torch.enable_grad():
            outputs = self.function(*inputs)
        ends = [(y, g) for y, g in zip(outputs, grads, strict=True) if y is not None and g is not None]
        known = [(y, g) for y, g in ends if y.requires_grad]
        xs = [x for x, w in zip(inputs, self.wanted, strict=True) if w and x is not None]
        if not known or not xs:
            return (None,) * len(inputs)
        ys, gs = zip(*known, strict=True)
        found = iter(torch.autograd.grad(ys, xs, gs, create_graph=differentiable, allow_unused=True))
        return tuple(next(found) if w else None for w in self.wanted)
