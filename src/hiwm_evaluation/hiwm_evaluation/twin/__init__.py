"""The twin: a recorded bag or the stand-in beside a world model, step by step.

Both begin at the same frame and take the same commands, so what differs is the model's.
`truths` gives the true side, `lockstep` runs both, `picture` and `video` show them, `run_folder`
writes the results (`hiwm_core.twin_folder`).
"""
