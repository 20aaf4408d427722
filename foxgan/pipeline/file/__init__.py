"""From YAML text to checked steps: what a pipeline file may say, where each value stands, and what variants it unfolds to."""
