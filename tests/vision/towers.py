"""Small text encoders with the names and the arithmetic of CLIP's and MobileCLIP's, written down with torch's own attention."""

import gzip
from pathlib import Path

import torch
from torch import nn

MERGES = ["f o", "h e", "he a", "hea d</w>", "fo x</w>", "o f</w>", "w o", "wo l", "wol f</w>", "a </w>"]
VOCABULARY = 2 * 256 + len(MERGES) + 2
WIDTH, LAYERS, SIZE, CONTEXT = 128, 2, 512, 77


def install(folder: Path) -> Path:
    """A folder for sys.path in which a package `clip` has a table of a few merges; importing it fails, as that of the real one does."""
    (folder / "clip").mkdir(parents=True, exist_ok=True)
    (folder / "clip" / "__init__.py").write_text("import a_module_that_is_gone\n")
    text = "\n".join(["#version: 0.2", *MERGES, ""])
    (folder / "clip" / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress(text.encode()))
    return folder


class QuickGELU(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """A layer of CLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, WIDTH // 64)
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(WIDTH, 4 * WIDTH))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.full((len(x), len(x)), float("-inf")).triu(1)
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Clip(nn.Module):
    """The text half of CLIP, and a bit of the other half."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Linear(3, 3)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.token_embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, WIDTH))
        self.ln_final = nn.LayerNorm(WIDTH)
        self.text_projection = nn.Parameter(torch.randn(WIDTH, SIZE))
        self.logit_scale = nn.Parameter(torch.ones([]))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = (self.token_embedding(tokens) + self.positional_embedding).transpose(0, 1)
        x = self.ln_final(self.transformer.resblocks(x).transpose(0, 1))  # type: ignore[operator]
        return x[torch.arange(len(tokens)), tokens.argmax(1)] @ self.text_projection


class Attention(nn.Module):
    """Attention of MobileCLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv_proj, self.out_proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = WIDTH // 64
        q, k, v = (part.unflatten(2, (heads, 64)).transpose(1, 2) for part in self.qkv_proj(x).chunk(3, 2))
        seen = (q @ k.transpose(2, 3) / 8 + torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1)).softmax(3) @ v
        return self.out_proj(seen.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class MobileBlock(nn.Module):
    """A layer of MobileCLIP."""

    def __init__(self) -> None:
        super().__init__()
        self.pre_norm_mha = nn.Sequential(nn.LayerNorm(WIDTH), Attention(), nn.Dropout(0))
        up, down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.pre_norm_ffn = nn.Sequential(nn.LayerNorm(WIDTH), up, nn.GELU(), nn.Dropout(0), down, nn.Dropout(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.pre_norm_mha(x)
        return x + self.pre_norm_ffn(x)  # type: ignore[no-any-return]


class MobileText(nn.Module):
    """The text half of MobileCLIP (B)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding_layer = nn.Embedding(VOCABULARY, WIDTH)
        self.positional_embedding = nn.Module()
        self.positional_embedding.pos_embed = nn.Module()
        self.positional_embedding.pos_embed.pos_embed = nn.Parameter(torch.randn(1, 1, CONTEXT, WIDTH))
        self.transformer = nn.ModuleList(MobileBlock() for _ in range(LAYERS))
        self.final_layer_norm = nn.LayerNorm(WIDTH)
        self.projection_layer = nn.Parameter(torch.randn(WIDTH, SIZE))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding_layer(tokens) + self.positional_embedding.pos_embed.pos_embed[0]  # type: ignore[union-attr, index, operator]
        for layer in self.transformer:
            x = layer(x)
        return self.final_layer_norm(x)[torch.arange(len(tokens)), tokens.argmax(1)] @ self.projection_layer


class MobileClip(nn.Module):
    """Both halves, as ultralytics traces it."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder, self.text_encoder = nn.Linear(3, 3), MobileText()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.text_encoder(tokens), dim=-1)


def tower(cls: type[nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = cls().eval()
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):  # some start at zero
                torch.nn.init.normal_(parameter, std=0.1)
    return made


def padded(tokens: list[int]) -> torch.Tensor:
    return torch.tensor([tokens + [0] * (CONTEXT - len(tokens))])
