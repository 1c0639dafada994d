"""Does the code of this commit compute the same bytes as the code of an earlier one?

    python -m scripts.same main

Runs a small pipeline with both, in folders and with a cache of their own, and compares every output. Both use the
packages of this environment, and each its own params.yaml with the values of the preset. What the small pipeline does
not run, such as the download of CIFAR-10 or a GPU, is not compared.
"""

import argparse
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import yaml
from dvc.dependency import Dependency, ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides

from scripts import pr_report, workspace
from scripts.experiment import dvc
from scripts.parameters import read_preset
from src.base import cli
from src.base.errors import InputError
from src.base.params import flat

Outputs = dict[str, dict[str, str]]
"""The MD5 of each output, by stage and path, as in dvc.lock."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE", help="the git revision to compare with")
    parser.add_argument("--preset", type=Path, default=Path("presets", "tiny"), help="default: %(default)s")
    parser.add_argument(
        "--record",
        action="store_true",
        help="if all bytes are the same, put the code of this commit, with new parameters, into dvc.lock, for each "
        "stage whose record was up to date at BASE",
    )
    arguments = parser.parse_args()
    base = arguments.base
    pr_report.check_revision(base)
    if changed := workspace.git("status", "--porcelain", "--untracked-files=no").decode():
        raise InputError(f"uncommitted changes in {', '.join(line[3:] for line in changed.splitlines())}: commit them")
    settings = read_preset(arguments.preset)
    if arguments.record and workspace.git("diff", "--name-only", base, "HEAD", "--", "dvc.lock"):
        raise InputError(f"dvc.lock is not that of {base}: name the commit of the record as BASE")
    with tempfile.TemporaryDirectory() as folder:
        behind = pr_report.read(extracted(base, Path(folder, "record"))).behind if arguments.record else []
        before, now = run(base, settings, Path(folder, "base")), run("HEAD", settings, Path(folder, "head"))
    if lines := differences(before, now):
        sys.exit("\n".join([f"Not the same as at {base}, from {lines[0].partition(':')[0]} on:", *lines]))
    print(f"All {sum(map(len, now.values()))} outputs of {len(now)} stages have the same bytes as at {base}.")
    if arguments.record:
        print(f"dvc.lock now has the code of HEAD in: {', '.join(record(behind)) or 'no stage'}")
        if left := pr_report.read(Path.cwd()).behind:
            print(f"Still out of date: {', '.join(left)}; `dvc status` says why.")


def extracted(revision: str, folder: Path) -> Path:
    folder.mkdir(parents=True)
    pr_report.extract(revision, folder)
    return folder


def run(revision: str, settings: list[str], folder: Path) -> Outputs:
    """Run the pipeline of a revision from the start, in a new folder.

    Raises:
        InputError: the revision does not have a parameter of the preset, or a stage fails.
    """
    extracted(revision, folder)
    try:
        apply_overrides(folder / "params.yaml", settings)
    except (DvcException, OSError) as error:
        raise InputError(f"{revision}: the preset cannot be applied: {' '.join(str(error).split())}") from None
    (folder / "dvc.lock").unlink(missing_ok=True)
    print(f"Running the pipeline of {revision}", file=sys.stderr)
    output: list[str] = []
    try:
        with redirect_stdout(None):
            dvc("repro", folder=folder, output=output)
    except InputError:
        sys.stderr.writelines(output)
        raise InputError(f"the pipeline of {revision} fails, see above") from None
    stages = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


def differences(before: Outputs, now: Outputs) -> list[str]:
    """A line for each stage whose outputs differ, in the order in which the stages run."""
    lines = list[str]()
    for stage in dict.fromkeys([*before, *now]):
        old, new = before.get(stage, {}), now.get(stage, {})
        if differ := [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]:
            lines.append(f"{stage}: {', '.join(differ)}")
    return lines


def record(behind: list[str]) -> list[str]:
    """Put the present code of all stages into dvc.lock, except the stages `behind`; returns the names of the changed.

    A parameter that is new belongs to the code: BASE computed the same bytes without it. A parameter with another value
    does not, nor does one that is gone. `dvc commit` would record these too. The digests of data and models stay.
    """
    changed = []
    with Repo() as repo:
        made = {out.fs_path for out in repo.index.outs}
        for stage in repo.index.stages:
            code = [dep for dep in stage.deps if dep.fs_path not in made and may_be_recorded(dep)]
            if stage.addressing not in behind and any(dep.workspace_status() for dep in code):
                for dep in code:
                    dep.save()
                stage.dump(update_pipeline=False)
                changed.append(stage.addressing)
    return changed


def may_be_recorded(dep: Dependency) -> bool:
    """Whether a dependency is code, or parameters that differ from the recorded ones only in new keys."""
    if not isinstance(dep, ParamsDependency):
        return True
    recorded, present = flat(dep.hash_info.value or {}), flat(dep.read_params())
    return all(key in present and present[key] == value for key, value in recorded.items())


if __name__ == "__main__":
    cli.run(main)
