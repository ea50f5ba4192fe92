"""The command that converts files of earlier versions: `scripts/migrate`.

    command_line   arguments, where the result goes, what is said
    folders        walks a folder: which files are old, and the converted copy
    training_sets  one zarr store
"""
