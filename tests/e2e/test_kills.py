"""Runs that are killed at random moments come to the same end; `kill_campaign.py` alone does it a hundred times."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


@pytest.mark.slow
def test_killed_runs_come_to_the_same_end():
    script = Path(__file__).with_name("kill_campaign.py")
    # Temporary files go where their folder has a short name alone, which that of pytest has not.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        done = subprocess.run(
            [sys.executable, script, folder, "--kills", "8", "--seed", "1"], capture_output=True, text=True
        )
    assert done.returncode == 0, done.stdout
    assert "8 faults in " in done.stdout and ", 0 with problems" in done.stdout
