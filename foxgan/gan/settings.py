"""The settings of a run in words: what was chosen for it, and why it cannot go on with others."""

from pathlib import Path
from typing import Any

from foxgan.errors import UsageError
from foxgan.gan.config import NetworkConfig, ResolvedConfig, TrainConfig

IDLE = {"noaug": {"p", "ada_kimg"}, "fixed": {"ada_kimg"}}  # settings without effect, by `aug`


def chosen(config: ResolvedConfig, device: str) -> list[str]:
    """All settings that may be left to foxgan, as they are now: one line on the training, one on the networks."""
    network = config.network
    free = [n for n, field in TrainConfig.model_fields.items() if field.default is None and n not in config.machine]
    names = [n for n in free if n not in IDLE.get(config.aug, ())]
    values = config.model_dump() | network.model_dump(include=set(names))
    told = {n: f"{n} {_shown(values[n])}" for n in names if values[n] is not None}
    of_networks = [told.pop(n) for n in list(told) if n in NetworkConfig.model_fields]
    size = f"{network.height}x{network.width}x{network.img_channels}"
    precision = "mixed" if network.num_fp16_res else "fp32"
    return [
        f"cfg {config.cfg} on {device}: {', '.join(told.values())}",
        f"networks: {size}, precision {precision}, {', '.join(of_networks)}",
    ]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def comparable(config: ResolvedConfig) -> dict[str, Any]:
    """The settings on which weights depend: all but when to stop, the machine, and words whose meaning `network` tells."""
    return config.model_dump(mode="json", exclude={"kimg", "precision"} | config.machine)


def refuse_changed(folder: Path, config: ResolvedConfig, then: dict[str, Any], snapshot: Path) -> None:
    """UsageError, with what works, if the run in `folder` was begun with other settings than `config`; it has got to `snapshot`."""
    now = comparable(config)
    then = now | then | {"network": now["network"] | then["network"]}  # settings that came later change nothing
    then, now = (c | {f"network.{name}": value for name, value in c.pop("network").items()} for c in (then, now))
    changed = [name for name, value in now.items() if then[name] != value]
    if not changed:
        return
    words = "; ".join(f"{name}: {then[name]} -> {now[name]}" for name in changed)
    anew = "train anew, with `foxgan run PIPELINE --force STEP` or into a new folder"
    if config.precision == "auto" and not set(changed) - {"network.num_fp16_res", "network.conv_clamp"}:
        advice = (  # in a pipeline only the machine can have changed these
            "precision: auto is mixed on CUDA and on CPUs with units for bfloat16, fp32 elsewhere, and this run was begun on another; "
            f"go on there (`--set STEP.device=cpu` if that was this CPU), or {anew}; `--set STEP.precision=fp32` trains alike on all"
        )
    else:
        advice = f"say the same again, or {anew}; there, `resume: {snapshot}` starts from what this run has learned"
    raise UsageError(f"{folder}: was begun with other settings ({words}); {advice}")
