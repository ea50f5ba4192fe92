"""scripts/kill_sessions.py continues after it was killed itself."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "kill_sessions.py"


def test_a_result_that_was_cut_short_is_removed_and_its_session_run_again(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("kill_sessions", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    results = tmp_path / "results.jsonl"
    assert script.earlier_results(results) == {}
    results.write_text('{"seed": 3, "faults": []}\n{"seed": 4, "fau')
    assert script.earlier_results(results) == {3: {"seed": 3, "faults": []}}
    assert results.read_text() == '{"seed": 3, "faults": []}\n'
