"""The builders beside this file are modules of their own, here and in the child processes that load hostile files."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
