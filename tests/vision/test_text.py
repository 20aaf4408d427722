"""Text encoders: tokens, vectors equal to those of the real arithmetic, files that must not be trusted, and the cache."""

import gzip
import importlib.util
import os
import sys
import warnings
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from foxgan.errors import DataError, StageError, UnsafeFileError, UsageError
from foxgan.vision.bpe import Tokenizer, clip_tokenizer
from foxgan.vision.embeddings import save_vectors, vectors_of
from foxgan.vision.text import load_encoder
from tests.vision import towers

TEXTS = ["fox head", "a wolf", "head of a fox, please"]


@pytest.fixture
def vocabulary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(towers.install(tmp_path_factory.mktemp("site")))
    clip_tokenizer.cache_clear()
    monkeypatch.setattr(sys.modules["foxgan.vision.bpe"], "MERGES", len(towers.MERGES))


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOXGAN_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def real(part: str) -> ModuleType:
    """A module of clip-anytorch, without importing the package (which fails where pkg_resources is gone)."""
    spec = importlib.util.find_spec("clip")
    path = Path(next(iter((spec and spec.submodule_search_locations) or ["nowhere"]))) / f"{part}.py"
    if not path.is_file():
        pytest.skip("the extra `text` is not installed")
    found = importlib.util.spec_from_file_location(f"real_clip_{part}", path)
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


# Tokens


@pytest.mark.usefixtures("vocabulary")
def test_a_word_becomes_the_longest_parts_that_were_merged() -> None:
    tokenizer = clip_tokenizer()
    parts = {number: word for word, number in tokenizer.numbers.items()}
    assert [parts[n] for n in tokenizer.tokens("Fox  HEAD")[1:-1]] == ["fox</w>", "head</w>"]
    assert [parts[n] for n in tokenizer.tokens("heads")[1:-1]] == ["hea", "d", "s</w>"]
    assert [parts[n] for n in tokenizer.tokens("it's 12&amp;x!")[1:-1]] == [
        *("i", "t</w>", "'", "s</w>", "1</w>", "2</w>", "&</w>", "x</w>", "!</w>")
    ]
    tokens = tokenizer.tokens("fox")
    assert (tokens[0], tokens[-1]) == (towers.VOCABULARY - 2, towers.VOCABULARY - 1)


@pytest.mark.parametrize("text", ["füchse", "狐狸", "лиса", "🦊", "naïve"])
def test_every_text_has_tokens(text: str) -> None:
    assert len(Tokenizer([]).tokens(text)) == 2 + len(text.encode())


def test_a_text_that_no_encoder_reads_to_its_end_is_refused() -> None:
    Tokenizer([]).tokens("f" * 75)
    with pytest.raises(UsageError, match=r"prompt 'ffff.*': 76 tokens long; text encoders read 75"):
        Tokenizer([]).tokens("f" * 76)


def test_tokens_are_those_of_clip() -> None:
    theirs = real("simple_tokenizer").SimpleTokenizer()
    clip_tokenizer.cache_clear()
    ours = clip_tokenizer()
    assert (ours.start, ours.end) == (49406, 49407)
    texts = [
        "fox head",
        "a photo of a cat's face",
        "don't we'll they've I'M",
        "it's 2024, isn't it?",
        "x_y--z...",
        "__init__",
    ]
    for text in [
        *texts,
        "  spaced   out\ttext ",
        "café &amp; bar",
        "Füchse im Wald",
        "狐狸的头",
        "лиса",
        "½ ² 10km",
        "🦊 face",
    ]:
        assert ours.tokens(text)[1:-1] == theirs.encode(text), text


def test_without_the_vocabulary_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    clip_tokenizer.cache_clear()
    monkeypatch.setitem(sys.modules, "clip", None)
    with pytest.raises(StageError, match=r"pip install 'foxgan\[text\]'`, or give a file of embeddings"):
        clip_tokenizer()


def test_a_damaged_vocabulary_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = towers.install(tmp_path / "site") / "clip" / "bpe_simple_vocab_16e6.txt.gz"
    monkeypatch.syspath_prepend(tmp_path / "site")
    for content in (b"no gzip", gzip.compress(b"#version\none two three\n")):
        path.write_bytes(content)
        clip_tokenizer.cache_clear()
        with pytest.raises(DataError, match="not the vocabulary of CLIP"):
            clip_tokenizer()


# Encoders


def written(path: Path, model: torch.nn.Module, form: str) -> Path:
    if form == "script":
        example = towers.padded([towers.VOCABULARY - 2, towers.VOCABULARY - 1])
        with warnings.catch_warnings(action="ignore"):  # torch.jit is going away; its files are not
            torch.jit.trace(model, example, check_trace=False).save(str(path))
    elif form == "safetensors":
        save_file({n: t.contiguous() for n, t in model.state_dict().items()}, path)
    else:
        state = model.state_dict()
        torch.save({"state_dict": state} if form == "wrapped" else state, path)
    return path


@pytest.mark.usefixtures("vocabulary")
@pytest.mark.parametrize("form", ["script", "safetensors", "plain", "wrapped"])
@pytest.mark.parametrize(("cls", "family"), [(towers.Clip, "clip"), (towers.MobileClip, "mobileclip")])
def test_vectors_are_those_of_the_model_in_any_kind_of_file(
    tmp_path: Path, cls: type[torch.nn.Module], family: str, form: str
) -> None:
    model = towers.tower(cls)
    path = written(tmp_path / f"encoder.{'safetensors' if form == 'safetensors' else 'pt'}", model, form)
    encoder = load_encoder(path)
    assert (encoder.family, encoder.size, encoder.layers) == (family, 512, towers.LAYERS)
    tokens = torch.cat([towers.padded(clip_tokenizer().tokens(text)) for text in TEXTS])
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model(tokens), dim=-1)
    torch.testing.assert_close(encoder.encode(TEXTS), expected, atol=2e-6, rtol=0)
    assert (expected[0] - expected[1]).abs().max() > 1e-3  # the texts are told apart


def test_vectors_are_those_of_the_class_that_clip_comes_with(tmp_path: Path) -> None:
    module = real("model")
    clip_tokenizer.cache_clear()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = module.CLIP(512, 32, 1, 64, 32, 77, 49408, 128, 2, 2).eval()
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    tokens = torch.cat([towers.padded(clip_tokenizer().tokens(text)) for text in TEXTS])
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model.encode_text(tokens), dim=-1)
    torch.testing.assert_close(load_encoder(tmp_path / "clip.pt").encode(TEXTS), expected, atol=2e-6, rtol=0)


def test_code_in_a_script_is_never_read(tmp_path: Path) -> None:
    path = written(tmp_path / "good.ts", towers.tower(towers.MobileClip), "script")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "evil.ts", "w") as target:
        for entry in source.namelist():
            is_code = "/code/" in entry or entry.endswith("constants.pkl")
            target.writestr(entry, b"raise SystemExit\n" if is_code else source.read(entry))
    assert load_encoder(tmp_path / "evil.ts").layers == towers.LAYERS


class Hostile:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("form", ["pt", "script"])
def test_an_encoder_that_would_call_something_is_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"text_projection": Hostile(tmp_path / "canary")}, path)
    if form == "script":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("evil/constants.pkl", b"")
    with pytest.raises(UnsafeFileError, match=r"evil\.pt: refused, it would call .*mkdir"):
        load_encoder(path)
    assert not (tmp_path / "canary").exists()


def test_a_script_whose_tensors_are_packed_is_refused_as_it_could_be_a_bomb(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.ts", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("constants.pkl", "data.pkl", "data/0"):
            archive.writestr(f"bomb/{name}", bytes(100_000))
    with pytest.raises(UnsafeFileError, match="its part 'data/0' is compressed"):
        load_encoder(tmp_path / "bomb.ts")


def changed(tmp_path: Path, **tensors: torch.Tensor | None) -> Path:
    state = dict(towers.tower(towers.Clip).state_dict())
    for name, tensor in tensors.items():
        state.pop(name.replace("__", "."))
        if tensor is not None:
            state[name.replace("__", ".")] = tensor
    torch.save(state, tmp_path / "odd.pt")
    return tmp_path / "odd.pt"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"ln_final__bias": None}, "its tensor ln_final.bias is missing"),
        ({"ln_final__bias": torch.zeros(3)}, r"its tensor ln_final.bias is \(3,\)"),
        ({"positional_embedding": torch.zeros(5, 128)}, r"its tensor positional_embedding is \(5, 128\)"),
        ({"text_projection": torch.zeros(128)}, "its projection is missing or is no matrix"),
        ({"token_embedding__weight": torch.ones(1).expand(10**10, 128)}, "claim to be larger"),
        ({"token_embedding__weight": torch.full((524, 128), float("nan"))}, "not finite"),
        ({"text_projection": None}, "no text encoder in it"),
    ],
)
def test_an_encoder_that_does_not_fit_together_is_told(
    tmp_path: Path, tensors: dict[str, torch.Tensor | None], message: str
) -> None:
    with pytest.raises(DataError, match=rf"odd\.pt: .*{message}"):
        load_encoder(changed(tmp_path, **tensors))


@pytest.mark.parametrize("name", ["a.pt", "a.ts", "a.safetensors"])
def test_a_damaged_encoder_is_told(tmp_path: Path, name: str) -> None:
    for content in (b"", b"hello", b"PK\x03\x04 broken"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: not a"):
            load_encoder(tmp_path / name)


# Vectors


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return written(tmp_path / "mobileclip_blt.pt", towers.tower(towers.MobileClip), "plain")


@pytest.mark.usefixtures("vocabulary")
def test_an_encoder_reads_a_text_once(encoder: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, source = vectors_of(TEXTS[:2], encoder, "mobileclip")
    assert source.license == "Apple's, for research only"
    asked: list[str] = []
    import foxgan.vision.text

    embed = foxgan.vision.text.embed
    monkeypatch.setattr("foxgan.vision.text.embed", lambda p, texts, f: asked.extend(texts) or embed(p, texts, f))
    again, _ = vectors_of(TEXTS, encoder, "mobileclip")
    assert asked == TEXTS[2:]
    for text in TEXTS[:2]:
        assert (first[text] == again[text]).all()
    encoder.write_bytes(encoder.read_bytes() + b"\0")  # another file, another digest
    vectors_of(TEXTS[:1], encoder, "mobileclip")
    assert asked == TEXTS[2:] + TEXTS[:1]
    assert len(list((models / "prompts").glob("*.safetensors"))) == 2


@pytest.mark.usefixtures("vocabulary")
def test_a_damaged_cache_is_made_anew(encoder: Path, models: Path) -> None:
    first, _ = vectors_of(TEXTS, encoder, "mobileclip")
    cache = next((models / "prompts").glob("*.safetensors"))
    cache.write_bytes(cache.read_bytes()[:100])
    again, _ = vectors_of(TEXTS, encoder, "mobileclip")
    assert all((first[text] == again[text]).all() for text in TEXTS)


@pytest.mark.usefixtures("vocabulary")
def test_the_encoder_of_another_family_is_refused(encoder: Path) -> None:
    with pytest.raises(UsageError, match="of the family mobileclip; this detector was trained with clip"):
        vectors_of(TEXTS, encoder, "clip")


def test_vectors_come_from_a_file_of_embeddings(tmp_path: Path) -> None:
    wanted = np.arange(512, dtype=np.float32)
    save_vectors(tmp_path / "own.safetensors", {"fox head": wanted, "dog head": np.ones(512, np.float32)})
    found, source = vectors_of(["fox head"], tmp_path / "own.safetensors", "clip")
    np.testing.assert_allclose(found["fox head"], wanted / np.linalg.norm(wanted), rtol=1e-6)
    assert (list(found), source.license) == (["fox head"], None)
    with pytest.raises(UsageError, match=r"2 embeddings, without one for 'fox heat' \(did you mean 'fox head'\?\)"):
        vectors_of(["fox heat"], tmp_path / "own.safetensors", "clip")


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_an_embedding_without_a_direction_is_told(tmp_path: Path, value: float) -> None:
    save_vectors(tmp_path / "own.safetensors", {"fox": np.full(512, value, np.float32)})
    with pytest.raises(DataError, match="the embedding of 'fox' is zero or not finite"):
        vectors_of(["fox"], tmp_path / "own.safetensors", "clip")


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(7)}, tmp_path / "own.safetensors")
    with pytest.raises(DataError, match="no text encoder in it"):
        vectors_of(["a"], tmp_path / "own.safetensors", "clip")
