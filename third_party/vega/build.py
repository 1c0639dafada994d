"""Make page.html and LICENSE from the npm packages in a folder. README.md says how."""

import sys
import tarfile
from pathlib import Path

PACKAGES = {"vega": "5.20.2", "vega-lite": "5.2.0", "vega-embed": "6.18.2"}
HERE = Path(__file__).parent
PAGE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
{{refresh_tag}}
<title>DVC plots</title>
{scripts}
<style>table {{ border-spacing: 15px; }} img {{ max-width: 100%; }}</style>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def main() -> None:
    scripts, licences = [], []
    for name, version in PACKAGES.items():
        with tarfile.open(Path(sys.argv[1], f"{name}-{version}.tgz")) as package:
            code, licence = (
                package.extractfile(f"package/{path}").read().decode()  # type: ignore[union-attr]
                for path in (f"build/{name}.min.js", "LICENSE")
            )
        code = code.partition("\n//# sourceMappingURL")[0].replace("</script", "<\\/script")
        scripts.append(f"<script>/* {name} {version}, BSD-3-Clause */\n{code}\n</script>")
        licences.append(f"{name} {version}\n\n{licence.strip()}\n")
    (HERE / "page.html").write_text(PAGE.format(scripts="\n".join(scripts)), encoding="utf-8")
    (HERE / "LICENSE").write_text("\n\n".join(licences), encoding="utf-8")


if __name__ == "__main__":
    main()
