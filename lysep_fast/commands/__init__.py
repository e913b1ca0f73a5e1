"""The commands train, predict, info and bench of `lysep-fast`, one module each.

Every command has ``add_parser(commands)`` and ``run(options)``, which returns the exit code or
raises; `lysep_fast.cli` turns what is raised into messages.
"""
