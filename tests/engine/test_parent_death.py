"""A run that is killed must not leave its worker processes behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import foxgan

PARENT = """
import os, sys, time
sys.path.insert(0, {root!r})
from foxgan.engine.local import LocalEngine

def work(item):
    os.write(1, b"%d\\n" % os.getpid())  # at once: two workers write here
    time.sleep(0.1)

if __name__ == "__main__":
    for _ in LocalEngine().map(work, range(1000), workers=2):
        pass
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or " Z " not in stat.read_text()  # nobody may be there to reap it


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill(pid, 0) would end the process there")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(root=str(Path(foxgan.__file__).parents[1])))
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = {int(parent.stdout.readline()) for _ in range(8)}
        parent.kill()
        deadline = time.monotonic() + 60
        while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(alive(pid) for pid in workers)
