"""Text encoders: the text half of CLIP (Radford et al. 2021) and of MobileCLIP (Vasu et al. 2024), from tensors alone.

Both are the same transformer under other names and with another activation. Files of either are read as data: OpenAI's and
ultralytics' are TorchScript archives, whose code stays unread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch.nn import functional

from foxgan.errors import DataError, UsageError
from foxgan.vision.bpe import CONTEXT, clip_tokenizer
from foxgan.vision.ptfile import hollow, is_script, read_pt, script_tensors

Tensors = dict[str, torch.Tensor]

HEAD = 64  # channels of an attention head in every CLIP
BATCH = 64  # texts at a time
RENAMED = (  # MobileCLIP's names as CLIP's
    (r"^embedding_layer\.", "token_embedding."),
    (r"^positional_embedding\.pos_embed\.pos_embed$", "positional_embedding"),
    (r"^transformer\.(\d+)\.pre_norm_mha\.0\.", r"transformer.resblocks.\1.ln_1."),
    (r"^transformer\.(\d+)\.pre_norm_mha\.1\.qkv_proj\.", r"transformer.resblocks.\1.attn.in_proj_"),
    (r"^transformer\.(\d+)\.pre_norm_mha\.1\.out_proj\.", r"transformer.resblocks.\1.attn.out_proj."),
    (r"^transformer\.(\d+)\.pre_norm_ffn\.0\.", r"transformer.resblocks.\1.ln_2."),
    (r"^transformer\.(\d+)\.pre_norm_ffn\.1\.", r"transformer.resblocks.\1.mlp.c_fc."),
    (r"^transformer\.(\d+)\.pre_norm_ffn\.4\.", r"transformer.resblocks.\1.mlp.c_proj."),
    (r"^final_layer_norm\.", "ln_final."),
    (r"^projection_layer$", "text_projection"),
)
_LAYER = re.compile(r"transformer\.resblocks\.(\d+)\.")


@dataclass(frozen=True)
class TextEncoder:
    """A text transformer. `family` is `clip` or `mobileclip`: vectors of one mean nothing to a detector trained with the other."""

    family: str
    tensors: Tensors  # fp32, under CLIP's names
    layers: int

    @property
    def size(self) -> int:
        """Length of its vectors."""
        return self.tensors["text_projection"].shape[1]

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Vectors [texts, size] of length 1. Raises UsageError for a text that is too long."""
        tokenizer = clip_tokenizer()
        if tokenizer.size != self.tensors["token_embedding.weight"].shape[0]:
            raise DataError(
                f"the text encoder knows {self.tensors['token_embedding.weight'].shape[0]} tokens, the installed vocabulary "
                f"{tokenizer.size}; they do not belong together"
            )
        tokens = [tokenizer.tokens(text) for text in texts]
        with torch.inference_mode():
            vectors = torch.cat([self._encoded(tokens[i : i + BATCH]) for i in range(0, len(tokens), BATCH)])
        return functional.normalize(vectors, dim=-1)

    def _encoded(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        longest = max(map(len, tokens))  # what comes behind the end of a text cannot be seen from there
        padded = torch.tensor([[*text, *[0] * (longest - len(text))] for text in tokens])
        x = self.tensors["token_embedding.weight"][padded] + self.tensors["positional_embedding"][:longest]
        for layer in range(self.layers):
            name = f"transformer.resblocks.{layer}."
            x = x + self._attention(f"{name}attn.", self._norm(f"{name}ln_1", x))
            hidden = self._linear(f"{name}mlp.c_fc.", self._norm(f"{name}ln_2", x))
            x = x + self._linear(f"{name}mlp.c_proj.", ACTIVATIONS[self.family](hidden))
        ends = torch.tensor([len(text) - 1 for text in tokens])
        return self._norm("ln_final", x)[torch.arange(len(tokens)), ends] @ self.tensors["text_projection"]

    def _attention(self, name: str, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        qkv = functional.linear(x, self.tensors[f"{name}in_proj_weight"], self.tensors[f"{name}in_proj_bias"])
        query, key, value = qkv.view(batch, length, 3, width // HEAD, HEAD).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self._linear(f"{name}out_proj.", seen.transpose(1, 2).reshape(batch, length, width))

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.tensors[f"{name}weight"], self.tensors[f"{name}bias"])

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])


def _quick_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"clip": _quick_gelu, "mobileclip": functional.gelu}


def load_encoder(path: Path) -> TextEncoder:
    """Read a text encoder: .safetensors, a .pt of tensors, or a TorchScript archive (.ts, .pt), whatever else the file holds.

    Raises DataError, or UnsafeFileError for a file that wants more than tensors.
    """
    try:
        tensors = read_tensors(path)
    except DataError:
        raise
    except Exception as error:  # broken bytes make zipfile, pickle, torch and safetensors raise a dozen types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a readable text encoder ({reason}); fetch it again") from error
    family, found = _text_half(tensors)
    if family is None:
        raise DataError(
            f"{path}: no text encoder in it that is known here; expected the tensors of CLIP or of MobileCLIP (B)"
        )
    return _checked(path, family, found)


def read_tensors(path: Path) -> Tensors:
    """The tensors of a file, by their names."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    if is_script(path):
        return script_tensors(path)
    content = read_pt(path, "a text encoder")
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    return {n: t for n, t in content.items() if isinstance(t, torch.Tensor)} if isinstance(content, dict) else {}


def _text_half(tensors: Tensors) -> tuple[str | None, Tensors]:
    """The family that names tell, and the tensors of the text half under CLIP's names."""
    if "text_projection" in tensors and "token_embedding.weight" in tensors:
        return "clip", {n: t for n, t in tensors.items() if not n.startswith("visual.")}
    ends = [name.removesuffix("embedding_layer.weight") for name in tensors if name.endswith("embedding_layer.weight")]
    if len(ends) != 1:
        return None, {}
    found = {}
    for name, tensor in tensors.items():
        if name.startswith(ends[0]):
            own = name.removeprefix(ends[0])
            for pattern, replacement in RENAMED:
                own = re.sub(pattern, replacement, own)
            found[own] = tensor
    return "mobileclip", found


def _checked(path: Path, family: str, found: Tensors) -> TextEncoder:
    """The encoder, if the shapes of all tensors go together."""
    layers = len({match[1] for name in found if (match := _LAYER.match(name))})
    try:
        vocabulary, width = found["token_embedding.weight"].shape
        size = found["text_projection"].shape[1]
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"{path}: its token table or its projection is missing or is no matrix") from error
    wanted = _shapes(vocabulary, width, size, layers)
    positions = found.get("positional_embedding")
    if positions is not None and positions.numel() == CONTEXT * width:
        found["positional_embedding"] = positions.reshape(CONTEXT, width)
    wrong = next((n for n, shape in wanted.items() if n not in found or tuple(found[n].shape) != shape), None)
    if wrong is not None or not layers or width % HEAD or not width:
        shape = tuple(found[wrong].shape) if wrong in found else "missing"
        raise DataError(
            f"{path}: its tensor {wrong or 'width'} is {shape if wrong else width}, which fits no text encoder of CLIP"
        )
    if hollow({name: found[name] for name in wanted}):
        raise DataError(f"{path}: its tensors claim to be larger than what the file holds")
    tensors = {name: found[name].float() for name in wanted}
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise DataError(f"{path}: a text encoder with weights that are not finite")
    return TextEncoder(family, tensors, layers)


def _shapes(vocabulary: int, width: int, size: int, layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embedding.weight": (vocabulary, width),
        "positional_embedding": (CONTEXT, width),
        "text_projection": (width, size),
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
    }
    for layer in range(layers):
        parts: dict[str, tuple[int, ...]] = {
            "ln_1.weight": (width,),
            "ln_1.bias": (width,),
            "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,),
            "ln_2.weight": (width,),
            "ln_2.bias": (width,),
            "mlp.c_fc.weight": (4 * width, width),
            "mlp.c_fc.bias": (4 * width,),
            "mlp.c_proj.weight": (width, 4 * width),
            "mlp.c_proj.bias": (width,),
        }
        shapes |= {f"transformer.resblocks.{layer}.{name}": shape for name, shape in parts.items()}
    return shapes


def embed(path: Path, texts: Sequence[str], family: str) -> torch.Tensor:
    """Vectors of `texts` by the encoder in `path`. Raises UsageError where it is not of the family that a detector was trained with."""
    encoder = load_encoder(path)
    if encoder.family != family:
        raise UsageError(
            f"{path}: a text encoder of the family {encoder.family}; this detector was trained with {family}"
        )
    return encoder.encode(texts)
