"""A short run of the fault harness, and that it can fail."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.cache_faults.trials import Row
from benchmarks.scratch import ROOT


def test_a_wrong_result_or_needless_work_counts_as_wrong():
    row = Row("a scenario")
    row.judge("right", True, computed=3, least=3)
    row.judge("other bytes", False, computed=3, least=3)
    row.judge("needless", True, computed=4, least=3)
    row.judge("any number", True, computed=9)
    assert (row.tried, row.wrong, row.executed, row.least) == (4, 2, 19, 18)
    assert row.notes == ["other bytes: wrong result", "needless: 4 items for 3"]


@pytest.mark.usefixtures("prefect_database")
def test_faults_leave_no_wrong_result():
    command = [sys.executable, "-m", "benchmarks.cache_faults", "--scale", "short"]
    said = subprocess.run(
        [*command, "--only", "formula", "group", "dvc", "corruption", "once"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.splitlines()[-1].startswith("0 wrong of ")
