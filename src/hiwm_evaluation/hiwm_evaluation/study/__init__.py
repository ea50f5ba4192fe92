"""One command from seeds to the report: `python -m hiwm_evaluation.study`, or `scripts/reproduce`.

    budgets   how much of everything
    policies  the policies that are judged, and the blocks they are made in
    stages    the commands of a block, in order, and what each leaves behind
    runner    runs them: progress, logs, interruption, resume
    blocks    what a finished block leaves: text only, and study.json from all of them
    sessions  what an operator did in a session, from its tree
"""
