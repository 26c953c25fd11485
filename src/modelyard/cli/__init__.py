"""The command line: one module per command group; talks HTTP to the platform like anyone else."""
