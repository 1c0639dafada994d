"""An experiment with the real DVC, in a tiny pipeline: whatever its folder, its clone and the settings of git are."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import experiment
from scripts.workspace import COPIES, copy_of_project, identity
from tests.scripts.tiny_project import git, make

SETTINGS = {  # of a user; {hooks} has hooks and a program that fail
    "identity": "[user]\n useConfigOnly = true",
    "signatures": "[commit]\n gpgSign = true\n[gpg]\n program = false",
    "hooks": "[core]\n hooksPath = {hooks}",
    "fsmonitor": "[core]\n fsmonitor = {hooks}/failing\n untrackedCache = true",
    "autocrlf": "[core]\n autocrlf = true\n safecrlf = true",
    "index": "[core]\n splitIndex = true\n[index]\n version = 4\n[feature]\n manyFiles = true",
    "ignored": "[core]\n excludesFile = {hooks}/everything\n[status]\n showUntrackedFiles = no",
    "diff": "[diff]\n noprefix = true\n external = false\n mnemonicPrefix = true\n[color]\n ui = always",
    "init": "[init]\n defaultBranch = x\n templateDir = {hooks}\n[worktree]\n guessRemote = true",
    "filter": '[filter "missing"]\n clean = cat\n smudge = false\n required = true',
}
EVERY_SETTING = "\n".join(SETTINGS.values())


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make settings those of the user."""
    hooks = tmp_path / "settings"
    names = ("pre-commit", "post-checkout", "post-index-change", "reference-transaction", "pre-push", "failing")
    for path in (folder / name for name in names for folder in (hooks, hooks / "hooks")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\necho a hook >&2\nexit 1\n", encoding="utf-8")
        path.chmod(0o755)
    (hooks / "everything").write_text("*\n", encoding="utf-8")

    def set_settings(settings: str) -> None:
        (hooks / "config").write_text(settings.replace("{hooks}", str(hooks)), encoding="utf-8")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(hooks / "config"))

    return set_settings


def state() -> list[str]:
    """What an experiment must not change, also by a lock or a list that it leaves."""
    questions = (
        "rev-parse --symbolic-full-name HEAD",
        *("for-each-ref refs/heads refs/tags refs/stash refs/exps/exec", "config --list --local", "worktree list"),
        *("ls-files --stage", "ls-files --others --exclude-standard", "diff"),
    )
    return [git(*question.split()) for question in questions] + sorted(path.name for path in Path(".dvc").iterdir())


def check(project: Path, tmp_path: Path) -> None:
    """Run an experiment in a project with a changed, a new and an untracked file, and what a killed one has left."""
    (project / "a.txt").write_text("a: jürgen\n", encoding="utf-8")
    (project / "new.txt").write_text("new\n", encoding="utf-8")
    (project / "untracked.txt").write_text("untracked\n", encoding="utf-8")
    git("add", "new.txt", folder=project)
    os.chdir(project)
    (COPIES / "killed").mkdir(parents=True)
    (COPIES / "killed.lock").touch()
    Path(".dvc", "cache").mkdir(exist_ok=True)
    before = state()
    commit = experiment.run_experiment("tiny", ["seed=1"])
    experiment.unpack(commit, tmp_path / "demo")
    assert state() == before
    assert list(COPIES.iterdir()) == []
    assert (tmp_path / "demo" / "evaluate" / "fusion.json").read_text(encoding="utf-8") == "a: jürgen\nseed: 1\n"
    head, prefix = git("rev-parse", "HEAD").strip(), git("rev-parse", "--show-prefix").strip()
    references = git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    assert references == [f"{commit} refs/exps/{head[:2]}/{head[2:]}/tiny"]
    assert git("rev-parse", f"{commit}^").strip() == head
    assert experiment.experiments() == [(commit, {"seed": 1.0}, {"one", "two"})]
    changes = git("diff-tree", "-r", "-z", "--name-status", head, commit).split("\0")[:-1]
    expected = {"a.txt": "M", "params.yaml": "M", "new.txt": "A", "dvc.lock": "A", "results/evaluate/fusion.json": "A"}
    found = dict(zip(changes[1::2], changes[::2], strict=True))
    assert found == {prefix + name: letter for name, letter in expected.items()}
    assert len(list(Path(".dvc", "cache").glob("files/md5/*/*"))) == 1  # the output of the first stage


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_part_of_the_pipeline(tmp_path: Path) -> None:
    """The stages that did not run keep the results of HEAD, and do not count as run."""
    project = make(tmp_path / "project")
    os.chdir(project)
    experiment.dvc("repro")
    git("add", "-A")
    git("commit", "-q", "-m", "recorded")
    results = Path("results", "evaluate", "fusion.json").read_bytes()
    part = experiment.run_experiment("part", ["seed=1"], stages=["one"])
    both = experiment.run_experiment("both", ["seed=2"])
    expected = [(part, {"seed": 1.0}, {"one"}), (both, {"seed": 2.0}, {"one", "two"})]
    assert sorted(experiment.experiments()) == sorted(expected)
    experiment.unpack(part, tmp_path / "part")
    assert (tmp_path / "part" / "evaluate" / "fusion.json").read_bytes() == results


slow = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        *("jürgen", 'a\nb\t"c" \\ %(d)s'),
        *(pytest.param(name, marks=slow) for name in ("C#-projects", "job_feature%2Fx", "$HOME [x] it's 100%")),
        *(pytest.param(name, marks=slow) for name in ("a b", "it's", "100%", "[x]", "$HOME", "%(x)s", "-x", "a,b;c:d")),
        *(pytest.param(name, marks=slow) for name in ("~", "..a", "\N{GRINNING FACE}", "*?", "a" * 100)),
    ],
)
def test_a_folder_of_any_name(name: str, tmp_path: Path, use: Callable[[str], None]) -> None:
    """With all settings at once. The larger repository has the project in a subfolder of that name, too."""
    project = make(tmp_path / name, project=name if name.isalpha() else "")
    use(EVERY_SETTING)
    check(project, tmp_path)


@slow
@pytest.mark.parametrize("name", SETTINGS)
def test_any_setting(name: str, tmp_path: Path, use: Callable[[str], None]) -> None:
    project = make(tmp_path / "start")
    use(SETTINGS[name])
    check(project, tmp_path)


def clone(*arguments: str) -> Callable[[Path, Path], Path]:
    def make_clone(start: Path, folder: Path) -> Path:
        git("config", "uploadpack.allowFilter", "true", folder=start)
        git("clone", "-q", *arguments, start.as_uri(), str(folder))
        return folder

    return make_clone


def worktree(start: Path, folder: Path) -> Path:
    """A linked worktree with a configuration of its own."""
    git("config", "extensions.worktreeConfig", "true", folder=start)
    git("worktree", "add", "-q", str(folder), folder=start)
    git("config", "--worktree", "core.hooksPath", "nowhere", folder=folder)
    return folder


def submodule(start: Path, folder: Path) -> Path:
    """A project that is a submodule."""
    folder.mkdir()
    git("init", "-q", folder=folder)
    git("submodule", "add", "-q", start.as_uri(), "sub", folder=folder)
    return folder / "sub"


def with_submodule(start: Path, folder: Path) -> Path:
    git("submodule", "add", "-q", start.as_uri(), "sub", folder=start)
    git("commit", "-q", "-m", "sub", folder=start)
    return start


def without_submodule(start: Path, folder: Path) -> Path:
    return clone()(with_submodule(start, folder), folder)


def sparse(start: Path, folder: Path) -> Path:
    (start / "far").mkdir()
    (start / "far" / "file").write_text("far", encoding="utf-8")
    git("add", "-A", folder=start)
    git("commit", "-q", "-m", "far", folder=start)
    git("clone", "-q", str(start), str(folder))
    git("sparse-checkout", "set", ".dvc", folder=folder)
    assert not (folder / "far").exists()
    return folder


def detached(start: Path, folder: Path) -> Path:
    git("checkout", "-q", "--detach", "HEAD~1", folder=start)
    return start


def links(start: Path, folder: Path) -> Path:
    for name in (".dvc/cache", ".checkpoints", ".venv"):
        (folder / name).mkdir(parents=True)
        (start / name).symlink_to(folder / name)
    return start


def dvc_hooks(start: Path, folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "dvc", "install", "--quiet"], cwd=start, check=True)
    return start


WAYS: dict[str, Callable[[Path, Path], Path]] = {
    "shallow": clone("--depth", "1"),
    "worktree": worktree,
    "blobless": clone("--filter=blob:none"),
    "treeless": clone("--filter=tree:0"),
    "shared": clone("--shared"),
    "submodule": submodule,
    "with submodule": with_submodule,
    "without submodule": without_submodule,
    "sparse": sparse,
    "detached": detached,
    "links": links,
    "DVC's hooks": dvc_hooks,
}


@pytest.mark.parametrize("way", [*list(WAYS)[:2], *(pytest.param(way, marks=slow) for way in list(WAYS)[2:])])
def test_any_clone(way: str, tmp_path: Path, use: Callable[[str], None]) -> None:
    project = WAYS[way](make(tmp_path / "start"), tmp_path / "clone")
    use(EVERY_SETTING)
    check(project, tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_repository_that_git_does_not_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, where the folder belongs to another user."""
    project = make(tmp_path / "start")
    for path in (project, project / ".git"):
        os.chown(path, 1234, 1234)
    monkeypatch.chdir(project)
    result = subprocess.run(["git", "status"], capture_output=True, text=True, check=False)
    assert "dubious ownership" in result.stderr
    experiment.unpack(experiment.run_experiment("tiny", ["seed=1"]), tmp_path / "demo")
    assert (tmp_path / "demo" / "evaluate" / "fusion.json").read_text(encoding="utf-8") == "a: 1\nseed: 1\n"


def test_a_git_hook_in_a_subfolder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git exports to hooks where its repository is, counted from another folder."""
    monkeypatch.chdir(make(tmp_path / "start", "sub"))
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index")
    monkeypatch.setenv("GIT_AUTHOR_DATE", "@nonsense")
    with copy_of_project() as folder:
        assert (folder / "a.txt").read_text(encoding="utf-8") == "a: 1\n"
        assert (folder.parent / "other").exists()


@pytest.mark.parametrize(
    ("settings", "variables", "expected"),
    [
        ("", {}, ("nobody", "nobody@localhost")),
        ("[user]\n name = me\n", {}, ("nobody", "nobody@localhost")),
        ("[user]\n name = Jürgen <x> O'Neil\n email = me@home\n", {}, ("Jürgen x O'Neil", "me@home")),
        ("", {"GIT_COMMITTER_NAME": "you", "GIT_COMMITTER_EMAIL": "you@home"}, ("you", "you@home")),
    ],
)
def test_git_knows_who_commits(
    settings: str,
    variables: dict[str, str],
    expected: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[str], None],
) -> None:
    monkeypatch.chdir(make(tmp_path / "start"))
    use(settings)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert identity() == expected
    with copy_of_project() as folder:
        for key, value in zip(("user.name", "user.email"), expected, strict=True):
            assert git("config", "--local", key, folder=folder).strip() == value
