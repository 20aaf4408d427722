"""YAML to checked steps, artifacts that know what made them, and the run that keeps both in step."""
