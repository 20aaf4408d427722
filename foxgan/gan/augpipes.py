"""Which transforms augment the images, and how often each: the published sets, single transforms, multipliers. No torch here."""

from typing import Any

from foxgan.errors import UsageError, did_you_mean

BLIT = ("xflip", "rotate90", "xint")
GEOM = ("scale", "rotate", "aniso", "xfrac")
COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
AUGPIPES = {
    "blit": BLIT,
    "geom": GEOM,
    "color": COLOR,
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
    "bg": BLIT + GEOM,
    "bgc": BLIT + GEOM + COLOR,
    "bgcf": (*BLIT, *GEOM, *COLOR, "imgfilter"),
    "bgcfn": (*BLIT, *GEOM, *COLOR, "imgfilter", "noise"),
    "bgcfnc": (*BLIT, *GEOM, *COLOR, "imgfilter", "noise", "cutout"),
}
OPS = AUGPIPES["bgcfnc"]
NAMES = (*AUGPIPES, *(op for op in OPS if op not in AUGPIPES))


def parse_augpipe(text: str) -> dict[str, float]:
    """Multipliers by transform for text such as "bgc", "xflip,rotate" or "bg,brightness=0.5,cutout"; later parts win.

    Each part is a published set or one transform; a number behind `=` multiplies its probability, from 0 (off) to 1: above, it would
    be certain, and leak, long before p is 1. Raises UsageError.
    """
    multipliers: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (word.strip() for word in part.partition("="))
        if name not in NAMES:
            raise UsageError(
                f"augmentation {name!r} does not exist{did_you_mean(name, NAMES)}; there are the sets {', '.join(AUGPIPES)}, and "
                f"the transforms {', '.join(OPS)}"
            )
        multipliers |= dict.fromkeys(AUGPIPES.get(name, (name,)), _multiplier(part, number) if equals else 1.0)
    return {op: multipliers[op] for op in OPS if multipliers.get(op)}


def _multiplier(part: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise UsageError(f"augmentation {part.strip()!r}: a multiplier is a number from 0 to 1")
    return value


def normal_augpipe(value: Any) -> Any:
    """The one spelling of all that means the same: the fewest sets, then transforms, in their order, such as `bg,color=0.5,cutout`.

    Takes text, a list of its parts, or a mapping of names to multipliers; what is none of these comes back as it is. Raises ValueError.
    """
    if isinstance(value, dict):
        value = [f"{name}={multiplier}" for name, multiplier in value.items()]
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
    if not isinstance(text, str):
        return text
    try:
        left = parse_augpipe(text)
    except UsageError as error:
        raise ValueError(str(error)) from None
    if not left:
        raise ValueError("no transform is left; say aug: noaug to train without augmentation")
    parts: dict[str, str] = {}  # by their first transform
    for name, ops in sorted([*AUGPIPES.items(), *((op, (op,)) for op in OPS)], key=lambda named: -len(named[1])):
        strengths = {left.get(op, 0) for op in ops}
        if len(strengths) == 1 and (strength := strengths.pop()):
            parts[ops[0]] = name if strength == 1 else f"{name}={strength!r}"
            left = {op: multiplier for op, multiplier in left.items() if op not in ops}
    return ",".join(parts[op] for op in OPS if op in parts)
