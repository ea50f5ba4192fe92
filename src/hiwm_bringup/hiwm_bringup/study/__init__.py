"""One command from seeds to the report: `python -m hiwm_bringup.study`, or `scripts/reproduce`.

    budgets  how much of everything
    stages   the commands, in order, and what each leaves behind
    runner   runs them: progress, logs, interruption, resume
    record   writes study.json, which the report reads
"""
