"""The page of `dvc plots show`: complete without a network."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import yaml
from dvc.config import Config
from dvc_render.html import HTML
from dvc_render.vega import VegaRenderer

TEMPLATE = Path(Config(".dvc")["plots"]["html_template"])


class Tags(HTMLParser):
    """The tags of a page with their attributes. What is inside a script is no tag."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


def test_the_template_loads_nothing() -> None:
    """DVC's own scripts are left out: the template has no place for them."""
    text = Path(".dvc", TEMPLATE).read_text(encoding="utf-8")
    page = HTML(text).with_scripts(VegaRenderer.SCRIPTS).with_element("<p>a plot</p>").embed()
    assert "<p>a plot</p>" in page
    parser = Tags()
    parser.feed(page)
    assert [tag for tag in parser.found if tag[0] in ("script", "link", "img")] == [("script", [])] * 3


def test_the_scripts_are_those_that_dvc_would_load() -> None:
    wanted = re.findall(r"npm/([\w-]+)@([\d.]+)", VegaRenderer.SCRIPTS)
    text = Path(".dvc", TEMPLATE).read_text(encoding="utf-8")
    assert re.findall(r"/\* ([\w-]+) ([\d.]+), BSD-3-Clause \*/", text) == wanted
    licence = Path("third_party/vega/LICENSE").read_text(encoding="utf-8")
    assert all(f"{name} {version}\n" in licence for name, version in wanted)


def test_the_plots_of_layers_have_a_template_for_names_of_layers() -> None:
    """DVC's own line plot has numbers on its x axis, and shows nothing for names."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in ("inspect_init", "inspect_transfer"):
        plots = {name: options for plot in stages[stage]["plots"] for name, options in plot.items()}
        options = plots[f"results/{stage}/layers.csv"]
        template = json.loads(Path(".dvc", "plots", f"{options['template']}.json").read_text(encoding="utf-8"))
        assert template["encoding"]["x"]["type"] == "ordinal"
        header = Path("results", stage, "layers.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
        assert {options["x"], options["y"], template["encoding"]["color"]["field"]} <= set(header)
