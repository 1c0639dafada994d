"""One script per stage, run by DVC as `python -m stages.NAME`. Python reads this file first."""

import os
import signal
import sys

# OpenMP reads its variables when PyTorch is loaded. None of the user's may count: where OpenMP starts fewer threads
# than PyTorch asked for (OMP_DYNAMIC, OMP_THREAD_LIMIT), oneDNN leaves out parts of fp32 gradients (PyTorch 2.15).
for _name in [name for name in os.environ if name.startswith(("OMP_", "GOMP_", "KMP_"))]:
    del os.environ[_name]
# Threads that wait by spinning take the cores from a stage that runs at the same time (`dvc queue start --jobs 2`),
# which made both three times slower. A single stage is as fast either way.
os.environ["OMP_WAIT_POLICY"] = "passive"

# Loading PyTorch takes seconds, and `cli.run` handles Ctrl-C only after that. Until then Ctrl-C just ends the stage.
if sys.argv[0] == "-m":  # as Python sets it while it looks for the script; not when another program imports a stage
    signal.signal(signal.SIGINT, signal.SIG_DFL)
