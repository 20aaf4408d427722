"""What shapes the networks and their training, without torch, so that a command line can offer it at once."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from foxgan.devices import Device
from foxgan.errors import UsageError
from foxgan.gan.augpipes import AUGPIPES, OPS, normal_augpipe
from foxgan.gan.bases import BASES, Base, auto_base
from foxgan.gan.shapes import Block, Grid, grid_of

Architecture = Literal["skip", "resnet", "orig"]


class NetworkConfig(BaseModel):
    """Everything that shapes G and D; stored as JSON in every snapshot, and enough to rebuild both (specs: weights §2, §3).

    A size without a grid is refused with a DataError.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    img_channels: int = Field(3, ge=1, le=64)
    c_dim: int = Field(0, ge=0, le=100_000)
    z_dim: int = Field(512, ge=1, le=8192)
    w_dim: int = Field(512, ge=1, le=8192)
    mapping_layers: int = Field(8, ge=1, le=64)
    mapping_lr_multiplier: float = Field(0.01, gt=0)
    embed_features: int | None = Field(None, ge=1, le=8192, description="Width of G's embedded label; None: w_dim")
    layer_features: int | None = Field(None, ge=1, le=8192, description="Width inside of G's mapping; None: w_dim")
    w_avg_beta: float = Field(0.995, ge=0, le=1)
    channel_base: int = Field(32768, ge=1)
    channel_max: int = Field(512, ge=1, le=8192)
    g_architecture: Architecture = "skip"
    d_architecture: Architecture = "resnet"
    use_noise: bool = True
    num_fp16_res: int = Field(0, ge=0, description="How many of the highest resolutions compute in half precision")
    conv_clamp: float | None = Field(None, gt=0)
    mbstd_group_size: int | None = Field(4, ge=1)
    mbstd_num_channels: int = Field(1, ge=0)
    d_mapping_layers: int = Field(
        8, ge=0, le=64, description="Layers of D's label mapping; without labels there is none"
    )
    d_mapping_lr_multiplier: float = Field(0.01, gt=0)
    cmap_dim: int | None = Field(
        None, ge=1, le=8192, description="Width of D's label mapping; None: channels of its last block"
    )

    @model_validator(mode="after")
    def _has_a_grid(self) -> Self:
        grid_of(self.height, self.width)
        return self

    @property
    def grid(self) -> Grid:
        return grid_of(self.height, self.width)

    @property
    def blocks(self) -> list[Block]:
        """The resolutions from b4 (the constant's grid) to the image."""
        height, width, doublings = self.grid
        return [Block(4 << i, height << i, width << i, self.channels(4 << i)) for i in range(doublings + 1)]

    @property
    def num_ws(self) -> int:
        """Rows of `ws`: one per conv and one for the last ToRGB; the other ToRGBs share the next conv's row."""
        return 2 * self.grid.doublings + 2

    def channels(self, resolution: int) -> int:
        """Feature maps at the block b{resolution}."""
        return max(1, min(self.channel_base // resolution, self.channel_max))

    def in_half(self, resolution: int) -> bool:
        """Whether b{resolution} computes in half precision; b4 never does."""
        top = 4 << self.grid.doublings
        return resolution >= 8 and resolution > top >> self.num_fp16_res


class TrainConfig(BaseModel):
    """How a generator is trained. `None` means "choose for me"; `resolved` fills it in from `cfg`, the images and the source."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    machine: ClassVar[frozenset[str]] = frozenset(
        {"device", "threads", "workers", "save_minutes", "accept_license", "checkpointing", "compile"}
    )  # never change results, but for rounding

    cfg: Literal["auto", "stylegan2", "paper256", "paper512", "paper1024", "cifar"] = Field(
        "auto", description="Base settings, for all that is not given"
    )
    kimg: float | None = Field(None, gt=0, description="Train until D has seen this many thousand real images")
    batch: int | None = Field(None, ge=1, description="Images per step, over all devices")
    batch_gpu: int | None = Field(
        None, ge=1, description="Images at a time on a device; gradients are summed up to `batch`"
    )
    g_lr: float | None = Field(None, gt=0, description="Learning rate of the generator")
    d_lr: float | None = Field(None, gt=0, description="Learning rate of the discriminator")
    gamma: float | None = Field(
        None, ge=0, description="Weight of the R1 penalty: the most important knob; try half, twice, 4x"
    )
    pl_weight: float | None = Field(None, ge=0, description="Weight of path length regularisation; 0: off")
    style_mixing: float | None = Field(None, ge=0, le=1, description="Probability of style mixing")
    g_reg_interval: int = Field(4, ge=1, description="Path length regularisation runs on every so many steps")
    d_reg_interval: int = Field(16, ge=1, description="The R1 penalty runs on every so many steps")
    ema_kimg: float | None = Field(None, ge=0, description="Half-life of the averaged generator, in thousand images")
    ema_rampup: Annotated[float | Literal["off"] | None, BeforeValidator(lambda v: "off" if v is False else v)] = Field(
        None, description="Half-life at most this share of the images so far"
    )
    z_dim: int | None = Field(None, ge=1, le=8192, description="Width of the input noise")
    w_dim: int | None = Field(None, ge=1, le=8192, description="Width of the mapped noise")
    mapping_layers: int | None = Field(None, ge=1, le=64, description="Depth of the mapping network")
    channel_base: int | None = Field(None, ge=1, description="Feature maps at a resolution R: channel_base / R ...")
    channel_max: int | None = Field(None, ge=1, le=8192, description="... but at most this many")
    use_noise: bool | None = Field(None, description="Noise inputs in G, for random detail; clean drawings need none")
    mbstd_group_size: int | None = Field(
        None, ge=1, description="Images that share minibatch statistics; divides batch_gpu"
    )
    aug: Literal["ada", "fixed", "noaug"] = Field(
        "ada", description="Augmentation: adaptive strength, fixed strength, none"
    )
    augpipe: Annotated[str, BeforeValidator(normal_augpipe)] = Field(
        "bgc",
        description=f"Transforms: sets ({', '.join(AUGPIPES)}) and single ones ({', '.join(OPS)}), joined by commas, each with a "
        "multiplier of its probability if it shall be rarer: bg,brightness=0.5,cutout",
    )
    p: float | None = Field(None, ge=0, le=1, description="Augment probability: the fixed one, or where `ada` starts")
    p_max: float = Field(
        0.85, ge=0, le=1, description="Highest augment probability `ada` may choose; leaks begin about there"
    )
    ada_target: float = Field(
        0.6, gt=-1, lt=1, description="Overfitting that `ada` aims at: the mean sign of D at reals"
    )
    ada_interval: int = Field(4, ge=1, description="`ada` changes p every so many steps")
    ada_kimg: float | None = Field(None, gt=0, description="Thousand images in which p can go from 0 to 1")
    mirror: bool = Field(False, description="Also train on the images flipped left to right")
    labels: bool | None = Field(None, description="Make a generator with classes; default: if the dataset has labels")
    subset: int | None = Field(None, ge=1, description="Train on so many images, drawn by the seed")
    freezed: int = Field(0, ge=0, description="FreezeD: leave so many layers of D, from the image side, as they are")
    adapt: bool = Field(
        False,
        description="Also start from a model of other proportions or classes: what does not fit is stretched or new",
    )
    accept_license: bool = Field(
        False, description="Start from weights for non-commercial use, though all photos are free for any use"
    )
    precision: Literal["auto", "fp32", "mixed"] = Field(
        "auto", description="mixed: upper layers in half precision; auto: where that is faster"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of everything random")
    tick_kimg: float = Field(4, gt=0, description="Report every so many thousand images")
    snapshot_ticks: int = Field(50, ge=1, description="Save the networks every so many ticks")
    grid_ticks: int = Field(5, ge=1, description="Draw a grid of fakes every so many ticks")
    grid_columns: int | None = Field(None, ge=1, le=64, description="Columns of the grids")
    grid_rows: int | None = Field(None, ge=1, le=64, description="Rows of the grids; with labels a class each")
    metric: Literal["none", "swd"] = Field(
        "none",
        description="Score the fakes while training, and keep the best snapshot; swd: by patches, needs no weights",
    )
    metric_ticks: int = Field(25, ge=1, description="Compute the metric every so many ticks")
    metric_images: int = Field(2000, ge=1, le=50_000, description="... on so many fakes and as many reals")
    save_minutes: float = Field(
        10, gt=0, description="Save at least this often, so that little is lost when the run is killed"
    )
    checkpointing: bool = Field(
        False,
        description="Compute maps again when gradients need them, instead of keeping them: less memory, slower",
    )
    compile: bool = Field(
        False,
        description="Compile the networks first (minutes; needs a C++ compiler, on CUDA Triton): may pay in long runs on CUDA",
    )
    device: Device = Field("auto", description="auto: CUDA if there is one, else the CPU")
    threads: int | None = Field(None, ge=1, description="CPU threads for the networks; default: all cores")
    workers: int | None = Field(
        None, ge=1, le=64, description="Threads that read images ahead; default: one per core, at most 8"
    )

    def resolved(
        self,
        height: int,
        width: int,
        channels: int = 3,
        num_classes: int = 0,
        num_images: int | None = None,
        device: str = "cpu",
        device_count: int = 1,
        source: NetworkConfig | None = None,
        prefer_mixed: bool = False,
    ) -> "ResolvedConfig":
        """All settings, the networks' sizes included; those of `source`, a model to go on from, where this config is silent.

        `prefer_mixed` is what `precision: auto` means on the machine at hand, see `foxgan.devices.half_is_faster`.

        What depends on the batch or the image size is derived again when these are not the base's. Raises UsageError for
        settings that contradict each other or the dataset, and DataError for a size without a network.
        """
        if self.labels and not num_classes:
            raise UsageError("labels: true, but the dataset has no labels; pack it with labels or leave `labels` out")
        if num_images is not None and (self.subset or 0) > num_images:
            raise UsageError(f"subset: {self.subset}, but the dataset has only {num_images} images")
        if self.aug == "ada" and (self.p or 0) > self.p_max:
            raise UsageError(
                f"p: {self.p:g} is above p_max: {self.p_max:g}, where `ada` stops; lower p, or say aug: fixed"
            )
        if self.compile and self.checkpointing:
            raise UsageError(
                "compile and checkpointing: a compiled network can't be computed again in parts; choose one"
            )
        base = auto_base(height, width, device_count) if self.cfg == "auto" else BASES[self.cfg]
        batch = self.batch or base.batch
        batch_gpu = self.batch_gpu or _divisor(batch, base.batch // base.devices)
        mbstd = self.mbstd_group_size or _divisor(batch_gpu, base.mbstd)
        _check_divides("batch_gpu", batch_gpu, "batch", batch)
        _check_divides("mbstd_group_size", mbstd, "batch_gpu", batch_gpu)
        small, cifar = self.cfg in ("auto", "cifar"), self.cfg == "cifar"
        chosen = {
            "kimg": 100_000 if cifar else 25_000,
            "batch": batch,
            "batch_gpu": batch_gpu,
            "g_lr": base.lr,
            "d_lr": base.lr,
            "gamma": base.gamma * (height * width / base.pixels) * (base.batch / batch),
            "pl_weight": 0.0 if cifar else 2.0,
            "style_mixing": 0.0 if cifar else 0.9,
            "ema_kimg": base.ema_kimg * batch / base.batch,
            "ema_rampup": 0.05 if small and source is None else "off",
            "p": 0.2 if self.aug == "fixed" else 0.0,
            "ada_kimg": 500 if source is None else 100,
            "grid_columns": min(max(1024 // width, 7), 12),
            "grid_rows": min(max(640 // height, 4), 8),
        }
        given = {name: value for name in TrainConfig.model_fields if (value := getattr(self, name)) is not None}
        mixed = self.precision == "mixed" or (self.precision == "auto" and prefer_mixed)
        network = NetworkConfig.model_validate(
            self._sizes(base, source)
            | {"height": height, "width": width, "img_channels": channels, "mbstd_group_size": mbstd}
            | {"c_dim": num_classes if self.labels is not False else 0}
            # a CPU's half precision, bfloat16, has the range of float32 and needs no clamp
            | {"num_fp16_res": 4 if mixed else 0, "conv_clamp": 256 if mixed and device != "cpu" else None}
        )
        sizes = network.model_dump(
            include={"z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max", "mbstd_group_size"}
        )
        return ResolvedConfig.model_validate(chosen | given | sizes | {"labels": network.c_dim > 0, "network": network})

    def _sizes(self, base: Base, source: NetworkConfig | None) -> dict[str, object]:
        """The sizes of both networks that do not follow from the images."""
        cifar = self.cfg == "cifar"
        sizes: dict[str, object] = {
            "mapping_layers": 2 if self.cfg in ("auto", "cifar") else 8,
            "channel_base": int(base.fmaps * 32768),
            "d_architecture": "orig" if cifar else "resnet",
        }
        if source is not None:
            sizes = source.model_dump()
        names = ("z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max", "use_noise")
        return sizes | {name: value for name in names if (value := getattr(self, name)) is not None}


class ResolvedConfig(TrainConfig):
    """A `TrainConfig` in which nothing is left to choose; what a snapshot records."""

    network: NetworkConfig
    kimg: float
    batch: int
    batch_gpu: int
    g_lr: float
    d_lr: float
    gamma: float
    pl_weight: float
    style_mixing: float
    ema_kimg: float
    ema_rampup: float | Literal["off"]
    p: float
    ada_kimg: float
    labels: bool
    grid_columns: int
    grid_rows: int


def _divisor(number: int, at_most: int) -> int:
    """The largest divisor of `number` that is not above `at_most`."""
    return next(d for d in range(min(number, max(at_most, 1)), 0, -1) if number % d == 0)


def _check_divides(name: str, divisor: int, of: str, number: int) -> None:
    if number % divisor:
        raise UsageError(f"{name}: {divisor} does not divide {of}: {number}")
