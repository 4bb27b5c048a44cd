"""Build the sdist and the wheel for a package index: `python -m tests.distribution FOLDER [REPOSITORY]`.

On an index there are no other files beside the README, so its pictures and relative links lead to the repository, whose
address is not written in it: REPOSITORY is that address, such as https://HOST/OWNER/backbeam, with the paths of GitHub
(blob/TAG/FILE and raw/TAG/FILE). The wheel is built from the sdist.
"""

import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(!?)\[((?:!\[[^]]*\]\([^)]*\)|[^]])*)\]\((?![a-z]+:|#)([^()\s]+)\)")


def absolute_links(readme: str, repository: str, tag: str) -> str:
    """Return a README whose relative links and pictures lead to a tag of a repository."""

    def replace(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        return f"{mark}[{text}]({repository}/{'raw' if mark else 'blob'}/{tag}/{target})"

    return _LINK.sub(replace, readme)


def build(target: Path, repository: str | None = None) -> list[Path]:
    """Build an sdist, and a wheel from it, into a folder; return their paths."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        [sdist] = _run_hatchling(ROOT, folder, "sdist")
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        [source] = (path for path in folder.iterdir() if path.is_dir())
        (source / "PKG-INFO").unlink()
        if repository:
            _name_repository(source, repository.rstrip("/"))
        return _run_hatchling(source, target.absolute(), "sdist") + _run_hatchling(source, target.absolute(), "wheel")


def _run_hatchling(source: Path, target: Path, kind: str) -> list[Path]:
    before = set(target.glob("backbeam-*.*"))
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return sorted(set(target.glob("backbeam-*.*")) - before)


def _name_repository(source: Path, repository: str) -> None:
    project = source / "pyproject.toml"
    text = project.read_text()
    tag = f"v{tomllib.loads(text)['project']['version']}"
    urls = {"Source": repository, "Documentation": f"{repository}/tree/{tag}/docs"}
    urls["Changelog"] = f"{repository}/blob/{tag}/CHANGELOG.md"
    lines = "".join(f'{name} = "{address}"\n' for name, address in urls.items())
    project.write_text(text.replace("[project.scripts]", f"[project.urls]\n{lines}\n[project.scripts]"))
    readme = source / "README.md"
    readme.write_text(
        absolute_links(readme.read_text(), repository, tag).replace("git clone REPOSITORY", f"git clone {repository}")
    )


def main() -> None:
    target, *repository = sys.argv[1:]
    built = build(Path(target), *repository)
    sys.stdout.write("".join(f"{path}\n" for path in built))
    if not repository:
        sys.stderr.write("built without REPOSITORY: on an index the README's links and pictures would lead nowhere\n")


if __name__ == "__main__":
    main()
