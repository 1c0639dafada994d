"""One script per stage, run by DVC as `python -m stages.NAME`. Python reads this file first."""

import os
import signal
import sys

# OpenMP reads this when PyTorch is loaded. Threads that wait by spinning take the cores from a stage that runs at the
# same time (`dvc queue start --jobs 2`), which made both three times slower. A single stage is as fast either way.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Loading PyTorch takes seconds, and `cli.run` handles Ctrl-C only after that. Until then Ctrl-C just ends the stage.
if sys.argv[0] == "-m":  # as Python sets it while it looks for the script; not when another program imports a stage
    signal.signal(signal.SIGINT, signal.SIG_DFL)
