"""Where work runs. A stage asks for `Engine.map`; whether that means this process, a pool or a cluster is not its business."""

from foxgan.engine.local import Engine, Failure, LocalEngine

__all__ = ["Engine", "Failure", "LocalEngine"]
