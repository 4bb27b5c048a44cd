"""The pages: their links and anchors, the commands that they show, and the tour of the README, run as it is written."""

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.deploy.parts import options, shown_commands
from tests.helpers import BACKBEAM
from tests.site_pages import index_of, on_page_markdown

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*.md")])
PAGES += [ROOT / "tests/benchmarks/README.md", ROOT / "tests/data/README.md"]
PAGES += [ROOT / "pipeline/sources/data/mnist-5k/README.md"]
DOCS = sorted((ROOT / "docs").glob("*.md"))
_LINK = re.compile(r"\]\(([^()\s]+)\)")


_options = cache(options)  # a command takes long to be made


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def text_of(page: Path) -> str:
    """Return a page without its code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings that GitHub and MkDocs make alike."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)).strip().lower()
        if plain.replace(" ", "-") == re.sub(r"[-\s]+", "-", plain):
            found.add(plain.replace(" ", "-"))
    return found


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead to no file or heading."""
    broken = []
    for link in _LINK.findall(text_of(page)):
        target, _, anchor = unquote(link).partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    return broken


def test_every_tracked_page_is_checked():
    git = shutil.which("git")
    if not git or not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run([git, "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, text=True)
    assert set(listed.stdout.split("\0")) - {""} <= {name_of(page) for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings(page):
    assert broken_links(page) == []


def test_a_broken_link_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](page.md#a-title) [b](#no-title) [c](no.md) [d](https://example.org/no)\n")
    assert broken_links(page) == ["#no-title", "no.md"]


def test_readme_links_to_every_page():
    links = set(_LINK.findall(text_of(ROOT / "README.md")))
    assert [name_of(page) for page in DOCS if name_of(page) not in links] == []


def test_links_of_the_site_lead_to_its_pages():
    readme = "![x](docs/x.png) [a](docs/learn.md#a) [b](#b) [c](CONTRIBUTING.md) [d](https://example.org)"
    assert index_of(readme) == "![x](x.png) [a](learn.md#a) [b](#b) [c](../CONTRIBUTING.md) [d](https://example.org)"
    page = "[a](learn.md) [b](../README.md#b) [c](../CONTRIBUTING.md) [the code](../model/x.py#L1)"
    assert on_page_markdown(page) == "[a](learn.md) [b](index.md#b) c (`CONTRIBUTING.md`) the code (`model/x.py`)"


def test_site_has_every_page():
    listed = (ROOT / "mkdocs.yml").read_text()
    assert [page.name for page in DOCS if f" {page.name}\n" not in listed] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS], ids=name_of)
def test_shown_commands_and_options_exist(page):
    for words in shown_commands(page) if page.name != "cli.md" else []:
        end = next((words.index(word) for word in words if word in ("|", "&")), len(words))
        name, *rest = words[:end]
        known = {*_options(name), *(_options("retrain") if name == "schedule" else ())}
        given = {word.partition("=")[0] for word in rest[: rest.index("--") if "--" in rest else None]}
        assert {word for word in given if word.startswith("-")} <= known, words


@pytest.mark.thorough
def test_the_tour_works_as_it_is_written(tmp_path):
    section = (ROOT / "README.md").read_text().split("## Five minutes\n")[1].split("\n## ")[0]
    lines = re.findall(r"^    (.*)$", section, re.MULTILINE)
    (tmp_path / "pipeline").symlink_to(ROOT / "pipeline")
    script = "".join(f"{line}\necho $? >> codes\n" for line in lines)
    search = f"{BACKBEAM.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [shutil.which("bash")],
        input=script,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200,
        env=os.environ | {"PATH": search},
    )
    codes = (tmp_path / "codes").read_text().split()
    assert [(line, code) for line, code in zip(lines, codes, strict=True) if code != "0"] == [
        (line, "4" if "exit code 4" in line else "143") for line in lines if "exit code" in line
    ], done.stdout + done.stderr
    assert "train-00000-of-00001.tfrecord" in done.stderr
    (record,) = tmp_path.glob("backbeam-workspace/runs/*seed3*/run.json")
    assert json.loads(record.read_text())["resumed_at"]
