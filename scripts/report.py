"""Write the results as one HTML page that needs no network and no JavaScript.

    python -m scripts.report                       # of the workspace, compared with HEAD
    python -m scripts.report NAME --base main      # of an experiment or any other revision

The page has the scores, curves, confusion matrices, mistakes, signal by layer, parameters, and where all this comes
from.
"""

import argparse
import base64
import csv
import json
import platform
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from scripts.experiment import current_stages
from scripts.parameters import by_dotted_key, parameters
from scripts.pr_report import check_revision
from scripts.results import TESTED
from scripts.workspace import git
from src.base import cli
from src.base.errors import InputError
from src.base.files import write_text
from src.networks.vgg import titles

Read = Callable[[str], bytes | None]
"""The content of a file of one version of the project; None where there is no such file."""

SCORES = {
    "accuracy": "accuracy",
    "loss": "loss",
    "top5": "top-5 accuracy",
    "val_accuracy": "validation accuracy",
}
"""The scores of results/evaluate/NAME.json, and their names on the page."""
PACKAGES = ("torch", "torchvision", "dvc", "dvclive", "scikit-learn")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
:root {{ --text: #1c1e21; --back: #fff; --soft: #f3f4f6; --line: #d5d8dd; --mark: #fff3c4; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --text: #e6e7e9; --back: #16181b; --soft: #22252a; --line: #3a3f46; --mark: #4d4210; }}
}}
body {{ font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
  max-width: 70rem; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.6rem; }}
h2 {{ font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; white-space: normal; }}
thead th {{ background: var(--soft); }}
.changed td {{ background: var(--mark); }}
figure {{ margin: 1rem 0; }} img {{ max-width: 100%; height: auto; background: #fff; border-radius: 4px; }}
.pair {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); gap: 1rem; }}
code {{ overflow-wrap: anywhere; }}
@media print {{ body {{ max-width: none; font-size: 11px; }} h2, figure, tr {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?", help="an experiment or another git revision; default: the workspace")
    parser.add_argument("--base", help="an experiment or revision to compare with; default: HEAD, or the parent")
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="default: %(default)s")
    arguments = parser.parse_args()
    revision = arguments.revision and commit_of(arguments.revision)
    if revision and not arguments.base and not git("rev-list", "--parents", "-1", revision).split()[1:]:
        raise InputError(f"{arguments.revision}: has no parent; name what to compare with: --base")
    base = commit_of(arguments.base) if arguments.base else f"{revision}^" if revision else "HEAD"
    check_revision(base)
    read = of_revision(revision) if revision else of_workspace
    name = arguments.base or git("rev-parse", "--short", base).decode().strip()
    try:
        text = page(read, of_revision(base), revision, name)
    except (ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        place = arguments.revision or "the workspace"
        raise InputError(f"{place}: results of another version, or damaged ({error!r})".replace("\n", " ")) from None
    write_text(arguments.out, text)
    print(f"{arguments.out}: open it in a browser")


def commit_of(name: str) -> str:
    """The commit of an experiment, the newest of that name, or of another git revision."""
    places = f"refs/exps/*/*/{name}"
    found = git("for-each-ref", "--sort=-creatordate", "--format=%(objectname)", places).decode().split()
    if not found:
        check_revision(name)
    return found[0] if found else name


def of_workspace(name: str) -> bytes | None:
    path = Path(name)
    return path.read_bytes() if path.is_file() else None


def of_revision(revision: str) -> Read:
    def read(name: str) -> bytes | None:
        # Not with `git show`, which fails for a file that is not there as for any other error.
        listed = git("ls-tree", "-z", revision, f"./{name}").decode()
        return git("cat-file", "blob", listed.split()[2]) if listed else None

    return read


def only_current(read: Read) -> Read:
    """Without the results of stages that dvc.lock does not record with the parameters of the same version.

    They are of other parameters: an experiment ran only some stages, or params.yaml was edited.
    """
    lock, params = read("dvc.lock"), read("params.yaml")
    stages = current_stages(yaml.safe_load(lock)["stages"], parameters(params)) if lock and params else set()

    def read_current(name: str) -> bytes | None:
        top, *rest = name.split("/")
        return None if top == "results" and rest[0] not in stages else read(name)

    return read_current


def page(now: Read, before: Read, revision: str | None, base: str) -> str:
    """The whole page.

    Raises:
        InputError: there are no results of `evaluate` with these parameters, or no params.yaml.
    """
    place = f"commit {revision[:10]}" if revision else "the workspace"
    there, now, before = all_scores(now), only_current(now), only_current(before)
    tested, earlier = all_scores(now), all_scores(before)
    params = now("params.yaml")
    if there and params and not tested:
        raise InputError(f"{place}: dvc.lock has no results of `evaluate` with these parameters; run `dvc repro`")
    if not tested or params is None:
        if now("results/evaluate/metrics.json"):
            raise InputError(f"{place}: results of an older version; check it out, and make the report there")
        raise InputError(f"{place}: no results of the stage `evaluate`; run `dvc repro`, or name an experiment")
    settings = yaml.safe_load(params)
    letters = {stage: settings[stage]["network"] for stage in ("train_vgg11", "train_vgg16")}
    names = dict(zip(("vgg11", "vgg16"), titles(letters).values(), strict=True)) | {"fusion": "both together"}
    both = ("vgg11", "vgg16")
    matrices = {f"results/evaluate/{key}/confusion_matrix.png": f"{names[key]}: confusion matrix" for key in both}
    mistakes = {f"results/evaluate/{key}/mistakes.png": f"{names[key]}: the most confident mistakes" for key in both}
    layers = {
        "results/inspect_init/layers.png": "both networks before training",
        "results/inspect_transfer/layers.png": f"{names['vgg16']} before and after the transfer",
    }
    change = f"change against {base}" if earlier else f"{base} has none to compare with"
    sections = {
        f"Scores on the test images, and validation accuracy ({change})": comparison(tested, earlier, names),
        "Loss and accuracy by epoch": pictures(now, {"results/evaluate/curves.png": "loss and accuracy by epoch"}),
        "F1 by class": by_class(now, names),
        "Confusion matrices": pictures(now, matrices),
        "The most confident mistakes": pictures(now, mistakes),
        "Signal and gradient by layer": pictures(now, layers),
        "Parameters": changes(by_dotted_key(params), by_dotted_key(before("params.yaml") or b"{}"), base),
        "Where this comes from": origin(now, revision, base, settings),
    }
    body = "\n".join(f"<section><h2>{escape(title)}</h2>\n{text}</section>" for title, text in sections.items() if text)
    return PAGE.format(
        title=escape(f"{names['vgg11']} and {names['vgg16']} on {settings['dataset']['name']}"), body=body
    )


def all_scores(read: Read) -> dict[str, dict[str, float]]:
    """The scores of each network that was tested."""
    return {key: json.loads(text) for key in TESTED if (text := read(f"results/evaluate/{key}.json"))}


def comparison(now: Mapping[str, Any], before: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The scores of each network. Where a score differs from that of the base, the change is in brackets."""

    def cell(key: str, score: str) -> str:
        if key == "fusion" and score == "val_accuracy":
            return "-"  # training validates one network at a time
        value, old = now[key][score], before.get(key, {}).get(score)
        return f"{value:.4f}" if old in (None, value) else f"{value:.4f} ({value - old:+.4f})"

    rows = [[label, *(cell(key, score) for key in now)] for score, label in SCORES.items()]
    return table(["", *(names.get(key, key) for key in now)], rows)


def by_class(read: Read, names: Mapping[str, str]) -> str:
    """F1 of each class, from the classification reports."""
    columns: dict[str, dict[str, str]] = {}
    for key in ("vgg11", "vgg16"):
        if text := read(f"results/evaluate/{key}/classification_report.csv"):
            columns[names[key]] = {row["class"]: row["f1-score"] for row in csv.DictReader(text.decode().splitlines())}
    classes = list(dict.fromkeys(name for column in columns.values() for name in column))
    return table(["", *columns], [[name, *(column.get(name, "") for column in columns.values())] for name in classes])


def pictures(read: Read, files: Mapping[str, str]) -> str:
    """Pictures, inside the page, with their descriptions; those that are not there are left out."""
    shown = []
    for name, description in files.items():
        if content := read(name):
            data = base64.b64encode(content).decode()
            shown.append(f'<figure><img alt="{escape(description)}" src="data:image/png;base64,{data}"></figure>')
    return f'<div class="pair">{"".join(shown)}</div>' if len(shown) > 1 else "".join(shown)


def changes(now: dict[str, Any], before: dict[str, Any], base: str) -> str:
    """All parameters. Those that differ from the base are marked."""

    def text(value: object) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    rows = [[key, text(now.get(key, "")), text(before.get(key, ""))] for key in now | before]
    return table(["", "here", base], rows, marked=[row[1] != row[2] for row in rows])


def origin(read: Read, revision: str | None, base: str, settings: Mapping[str, Any]) -> str:
    """Commits, data, versions and machine."""
    described = git("log", "-1", "--format=%H (%ci)", revision or "HEAD").decode().strip()
    changed = "" if revision or not git("status", "--porcelain") else ", with changes that are not committed"
    counts = json.loads(read("results/preprocess/metrics.json") or "{}").get("images", {})
    lock = yaml.safe_load(read("dvc.lock") or b"{}") or {}
    outs = lock.get("stages", {}).get("download", {}).get("outs", [{}])
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", (read("requirements.txt") or b"").decode(), re.MULTILINE))
    facts = {
        "commit": described + changed,
        "compared with": git("log", "-1", "--format=%H (%ci)", commit_of(base)).decode().strip(),
        "data": f"{settings['dataset']['name']}, "
        + ", ".join(f"{count:,} images for {split}" for split, count in counts.items())
        + (f"; MD5 of data/raw in dvc.lock: {outs[0]['md5']}" if "md5" in outs[0] else ""),
        "packages of this commit": ", ".join(f"{name} {pinned[name]}" for name in PACKAGES if name in pinned),
        "this page": f"written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {platform.platform()}, Python "
        f"{platform.python_version()}, torch {version('torch')}. The results do not say which machine computed them.",
    }
    return (
        "<dl>"
        + "".join(f"<dt><b>{name}</b></dt><dd><code>{escape(text)}</code></dd>" for name, text in facts.items())
        + "</dl>"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], marked: Iterable[bool] = ()) -> str:
    if not rows:
        return ""
    marks = [*marked, *[False] * len(rows)]
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f"<tr{' class=changed' if mark else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for row, mark in zip(rows, marks, strict=False)
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


if __name__ == "__main__":
    cli.run(main)
