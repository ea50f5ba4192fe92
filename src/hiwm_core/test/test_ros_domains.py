import subprocess
import sys

from hiwm_core.ros_domains import domain_id

_PRINT = "from hiwm_core.ros_domains import domain_id; print(*(domain_id() for _ in range(30)))"


def test_parallel_processes_never_share_a_domain() -> None:
    hold = _PRINT + "; import sys; sys.stdout.flush(); sys.stdin.read()"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    try:
        drawn = [{domain_id() for _ in range(30)}]
        for process in processes:
            assert process.stdout is not None
            drawn.append({int(word) for word in process.stdout.readline().split()})
    finally:
        for process in processes:
            process.communicate()
    assert all(len(ids) > 1 and min(ids) >= 1 and max(ids) <= 101 for ids in drawn)
    assert len(set().union(*drawn)) == sum(len(ids) for ids in drawn)


def test_a_block_is_free_again_when_its_process_has_ended() -> None:
    for _ in range(12):  # more processes than there are blocks
        subprocess.run([sys.executable, "-c", _PRINT], check=True, capture_output=True)


def test_a_forked_child_reserves_its_own_block() -> None:
    # In its own process: a fork of this one, with the threads of other tests, may never return.
    fork = """
import multiprocessing
from hiwm_core.ros_domains import domain_id
own = {domain_id() for _ in range(30)}
with multiprocessing.get_context("fork").Pool(1) as pool:
    assert pool.apply(domain_id) not in own
"""
    subprocess.run([sys.executable, "-c", fork], check=True)
