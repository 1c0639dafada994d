"""A project whose pipeline copies a file: what an experiment does around the stages shows in seconds."""

import os
import subprocess
from pathlib import Path

FILES = {
    ".dvc/config": "[core]\n    analytics = false\n",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    ".gitattributes": "* text=auto eol=lf\n*.bin filter=missing\n",
    ".gitignore": "/.checkpoints\n/data\n",
    "params.yaml": "seed: 0\n",
    "a.txt": "a: 1\n",
    "large.bin": "pointer\n",
    "dvc.yaml": """
stages:
  one:
    cmd: mkdir -p data && cat a.txt params.yaml > data/b.txt
    deps: [a.txt]
    params: [seed]
    outs: [data/b.txt]
  two:
    cmd: mkdir -p results/evaluate && cp data/b.txt results/evaluate/fusion.json
    deps: [data/b.txt]
    metrics:
      - results/evaluate/fusion.json: {cache: false}
""",
}


def git(*arguments: str, folder: Path | None = None) -> str:
    """git without the settings of the user."""
    settings = ("user.name=a", "user.email=a@b", "protocol.file.allow=always", "core.quotePath=false")
    command = ["git", *(word for setting in settings for word in ("-c", setting)), *arguments]
    variables = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True, text=True).stdout


def make(folder: Path, project: str = "") -> Path:
    """A repository with two commits and a project in its folder `project`."""
    for name, text in FILES.items():
        (folder / project / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / project / name).write_text(text, encoding="utf-8")
    git("init", "-q", "-b", "main", folder=folder)
    for message in ("one", "two"):
        (folder / "other").write_text(message, encoding="utf-8")
        git("add", "-A", folder=folder)
        git("commit", "-q", "-m", message, folder=folder)
    return folder / project
