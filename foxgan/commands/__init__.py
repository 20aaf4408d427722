"""The commands of `foxgan`: they parse, print results to stdout, and leave all work to `foxgan.pipeline`.

Nothing heavy is imported before work begins.
"""
