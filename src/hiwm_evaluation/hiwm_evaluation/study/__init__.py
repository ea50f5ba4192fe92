"""One command from seeds to the report: `python -m hiwm_evaluation.study`, or `scripts/reproduce`.

    budgets   sizes of studies
    policies  the blocks of a study and their policies
    worlds    the family of world model to train, and checks of those that are given
    stages    the commands of a block, in order, and their outputs
    estimate  how long a block takes
    settings  refuses to continue a study with other settings, and starts that overlap
    runner    runs stages: progress, logs, interruption, resume
    blocks    results of finished blocks, as text, and study.json from all of them
    sessions  an operator's work in a session, from its tree
"""
