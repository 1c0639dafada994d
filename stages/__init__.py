"""One script a stage, run by DVC as `python -m stages.NAME`. This file is read first of all."""

import os
import signal
import sys

# OpenMP reads it when PyTorch is loaded. Threads that wait by spinning take the cores from a stage that runs at the
# same time (`dvc queue start --jobs 2`), which made both three times as slow; to a stage alone it makes no difference.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Loading PyTorch takes seconds; only then does `cli.run` say what Ctrl-C does. Until then it just ends the stage.
if sys.argv[0] == "-m":  # what Python puts there while it looks for the script; not where another program imports one
    signal.signal(signal.SIGINT, signal.SIG_DFL)
