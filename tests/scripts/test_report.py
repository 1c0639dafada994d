"""The HTML page of the results."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scripts import report
from src.base.errors import InputError
from tests.defaults import DEFAULTS
from tests.scripts.small_pipeline import git

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100"
    "c9fe92ef0000000049454e44ae426082"
)
SCORES = dict.fromkeys(report.SCORES, 0.5)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page(HTMLParser):
    """The tags of a page, its text by table row, and whether all tags are closed in order."""

    EMPTY = ("meta", "link", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.marked: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the results of a run, and the same with other parameters and scores as the branch `other`."""
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-q", "-b", "main")
    for key, name in (("vgg11", "VGG11"), ("vgg16", "VGG16")):
        folder = Path("results", "evaluate", key)
        folder.mkdir(parents=True)
        rows = f"class,precision,recall,f1-score,support\n<b>{name}</b>,0.1,0.2,0.3,5\n"
        (folder / "classification_report.csv").write_text(rows)
        for picture in ("confusion_matrix", "mistakes"):
            (folder / f"{picture}.png").write_bytes(PNG)
    Path("results/evaluate/curves.png").write_bytes(PNG)
    Path("dvc.lock").write_text("stages: {evaluate: {}}")
    Path("requirements.txt").write_text("torch==2.15.0\nnumpy==2.0\n")
    Path(".gitignore").write_text("/report.html\n")
    write(0.5, "normal")
    keep("main")
    git(tmp_path, "checkout", "-q", "-b", "other")
    write(0.75, "kaiming")
    keep("other")
    head = git(tmp_path, "rev-parse", "main").strip()
    git(tmp_path, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/named", "other")  # as DVC keeps an experiment
    git(tmp_path, "checkout", "-q", "main")
    return tmp_path


def write(accuracy: float, init: str) -> None:
    Path("params.yaml").write_text(DEFAULTS.replace("init: normal", f"init: {init}"))
    for key in ("vgg11", "vgg16", "fusion"):
        scores = SCORES | {"accuracy": accuracy}
        if key == "fusion":
            del scores["val_accuracy"]  # training validates one network at a time
        Path(f"results/evaluate/{key}.json").write_text(json.dumps(scores))


def keep(message: str) -> None:
    git(Path(), "add", "-A")
    git(Path(), "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", message)


def made(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr("sys.argv", ["report", *arguments])
    report.main()
    return Path("report.html").read_text(encoding="utf-8")


def test_the_page_asks_for_nothing_from_elsewhere(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = made(monkeypatch)
    page = Page(text)
    assert not {"script", "iframe", "object"} & {tag for tag, _ in page.tags}
    sources = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert len(sources) == 1 + 5
    assert all(source and source.startswith("data:") for source in sources)
    assert not re.search("https?://|url\\(|@import", text)
    assert all(attributes["alt"] for tag, attributes in page.tags if tag == "img")
    assert git(project, "status", "--porcelain") == ""


def test_results_of_the_workspace(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Page(made(monkeypatch)).rows
    assert rows[:2] == [["", "VGG11", "VGG16", "both together"], ["accuracy", "0.5000", "0.5000", "0.5000"]]
    assert rows[4] == ["validation accuracy", "0.5000", "0.5000", "-"]
    assert ["<b>VGG11</b>", "0.3", ""] in rows  # text, not a tag
    assert ["init", "normal", "normal"] in rows
    write(0.6, "none")
    rows = Page(made(monkeypatch)).rows
    assert rows[1] == ["accuracy", *["0.6000 (+0.1000)"] * 3]
    assert ["init", "none", "normal"] in rows


def test_results_of_a_revision_against_another_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(project, "update-ref", f"refs/exps/aa/{'b' * 38}/first", "main")
    for arguments in (
        ("other",),
        ("other", "--base", "main"),
        ("named", "--base", "main"),
        ("named", "--base", "first"),
    ):
        text = made(monkeypatch, *arguments)
        page = Page(text)
        assert page.rows[1] == ["accuracy", *["0.7500 (+0.2500)"] * 3]
        assert ["init", "kaiming", "normal"] in page.rows
        assert sum(attributes.get("class") == "changed" for _, attributes in page.tags) == 1
        assert git(project, "rev-parse", "other").strip() in text
        assert "torch 2.15.0" in text


def test_results_of_an_older_version_are_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They had the scores of all networks in one file."""
    for path in Path("results/evaluate").glob("*.json"):
        path.unlink()
    keep("empty")
    write(0.5, "normal")
    assert "(HEAD has none to compare with)" in made(monkeypatch, "--base", "HEAD")
    git(project, "clean", "-qfd", "results")
    Path("results/evaluate/metrics.json").write_text("{}")
    with pytest.raises(InputError, match=r"^the workspace: results of an older version; check it out"):
        made(monkeypatch)


def test_networks_are_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("params.yaml").write_text(DEFAULTS.replace("network: D", "network: E"))
    assert Page(made(monkeypatch)).rows[0] == ["", "VGG11", "VGG19", "both together"]


def test_results_of_other_parameters_are_not_shown(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an edit of params.yaml, or in an experiment that ran only some stages."""
    used = {"inspect_init": "init: normal", "evaluate": "init: normal", "inspect_transfer": "init: none"}
    lines = [f"  {stage}: {{params: {{params.yaml: {{{line}}}}}}}\n" for stage, line in used.items()]
    Path("dvc.lock").write_text("stages:\n" + "".join(lines))
    for name in ("inspect_init", "inspect_transfer"):
        Path("results", name).mkdir()
        Path("results", name, "layers.png").write_bytes(PNG)
    keep("recorded")
    text = made(monkeypatch)
    assert 'alt="both networks before training"' in text
    assert "before and after the transfer" not in text
    write(0.5, "kaiming")
    with pytest.raises(InputError, match=r"^the workspace: dvc.lock has no results of `evaluate` with"):
        made(monkeypatch)
    keep("other parameters")
    write(0.5, "normal")
    assert "(HEAD has none to compare with)" in made(monkeypatch, "--base", "HEAD")


def test_without_results_there_is_no_page(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree("results")
    with pytest.raises(InputError, match=r"^the workspace: no results of the stage `evaluate`; run `dvc repro`, or"):
        made(monkeypatch)
    with pytest.raises(InputError, match=r"^unknown git revision 'nothing'"):
        made(monkeypatch, "nothing")
    with pytest.raises(InputError, match=r"^main: has no parent; name what to compare with: --base$"):
        made(monkeypatch, "main")
    assert not Path("report.html").exists()


@pytest.mark.parametrize("content", ["<<<<<<<", "[1]", "{}"])
def test_damaged_results_are_one_line(content: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("results/evaluate/vgg11.json").write_text(content)
    with pytest.raises(InputError, match=r"^the workspace: results of another version, or damaged \(") as error:
        made(monkeypatch)
    assert "\n" not in str(error.value)


def test_names_of_revisions_are_text(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(project, "branch", "a<b>&c")
    assert "change against a&lt;b&gt;&amp;c)" in made(monkeypatch, "--base", "a<b>&c")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_the_page_without_a_complaint(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(monkeypatch)
    url = (project / "report.html").as_uri()
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={project}/home",
    ]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=390,800"]
    result = subprocess.run(
        [str(CHROMIUM), *flags, "--dump-dom", url], capture_output=True, text=True, timeout=60, check=True
    )
    assert "CONSOLE" not in result.stderr
    assert result.stdout.count("<img ") == 5
    assert "VGG16: confusion matrix" in result.stdout
