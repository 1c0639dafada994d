"""A project of its own for tests that run the real DVC: the files that git tracks, in a new repository."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent


def own_environment(home: Path) -> dict[str, str]:
    """Environment variables for tests: no setting of the developer, of git or of DVC, and the HOME `home`.

    In a git hook, git exports GIT_DIR: without this, tests would commit into the repository of the developer.
    """
    foreign = ("GIT_", "DVC_", "XDG_", "CIFAR10_", "MPL", "PYTHONSTARTUP", "TORCHELASTIC_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    folders = {f"DVC_{kind}_DIR": str(home / kind.lower()) for kind in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE")}
    git = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
    return inherited | folders | git | {"HOME": str(home)}


class Project:
    """A copy of the files that git tracks, in a repository of its own without an identity."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Without a global configuration, git refuses a folder of another user, as there is in a container.
        command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
        files = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        for name in filter(None, files.split("\0")):
            if (ROOT / name).is_file() and not name.startswith(("results/", "docs/")) and name != "dvc.lock":
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        shutil.copy2(ROOT / "tests" / "params.yaml", folder / "params.yaml")
        home = folder.parent / "home"
        home.mkdir(exist_ok=True)
        self.environment = own_environment(home) | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        }
        self.run("git", "init", "-q", "-b", "main")
        self.commit("start")

    @classmethod
    def clone(cls, project: "Project", folder: Path) -> "Project":
        """A clone of another project's repository, without its cache."""
        clone = cls.__new__(cls)
        clone.folder, clone.environment = folder, project.environment
        project.run("git", "clone", "-q", str(project.folder), str(folder))
        return clone

    def run(self, *command: str, fails: bool = False) -> str:
        """What a command prints; it must succeed, or fail when that is expected."""
        result = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert (result.returncode != 0) == fails, f"{command}\n{result.stdout}\n{result.stderr}"
        return result.stdout + result.stderr

    def dvc(self, *arguments: str, fails: bool = False) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, fails=fails)

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", message)

    def set(self, key: str, value: str) -> None:
        """Change the one value of params.yaml with this name, and nothing else in its line."""
        path = self.folder / "params.yaml"
        text, changes = re.subn(rf"(?m)^( *{key}): \S+", rf"\1: {value}", path.read_text(encoding="utf-8"))
        assert changes == 1
        path.write_text(text, encoding="utf-8")

    def run_the_queue(self, count: int, jobs: int) -> None:
        """Start `jobs` workers and wait until `count` queued experiments have succeeded.

        A worker inherits the output of the command that starts it, and at times outlives its work (DVC 3.67.1).
        """
        command = [sys.executable, "-m", "dvc", "queue", "start", "--jobs", str(jobs)]
        null = subprocess.DEVNULL
        subprocess.run(command, cwd=self.folder, env=self.environment, stdout=null, stderr=null, check=True, timeout=60)
        deadline = time.monotonic() + 240
        while (status := self.dvc("queue", "status")).count("Success") < count:
            assert "Failed" not in status, self.dvc("queue", "logs", re.findall(r"^(\w{7}) .*Failed", status, re.M)[0])
            assert time.monotonic() < deadline, status
            time.sleep(0.5)
        for process in psutil.process_iter():
            if works_in(process, self.folder):
                process.kill()

    def status(self) -> str:
        return self.run("git", "status", "--porcelain")

    def results(self) -> dict[str, bytes]:
        """The content of each file under results/."""
        folder = self.folder / "results"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def metrics(self, name: str) -> Any:
        return json.loads(self.results()[f"{name}.json"])


def works_in(process: psutil.Process, folder: Path) -> bool:
    """Whether the working directory of a process is `folder`; not when it has ended or is another user's."""
    try:
        return process.cwd() == str(folder)
    except psutil.Error:
        return False
