"""The index page of a workspace: `backbeam report --all`, its table of runs and its time-line, and `--open`."""

import shutil
import webbrowser
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from pipeline.registry.history import append_entry, load_history, next_champion
from pipeline.train.run_lookup import find_run_folder
from pipeline.train.run_names import rename_run
from pipeline.train.run_record import load_run
from tests import browser
from tests.helpers import run_in_process
from tests.pages import read_page


@pytest.fixture(scope="module")
def workspace(seeds_run, tmp_path_factory):
    """A workspace with three runs, of which the first has a name, the second is the champion, the third no result."""
    workspace = shutil.copytree(seeds_run, tmp_path_factory.mktemp("index") / "<b>ws")
    first, second, third = (load_run(find_run_folder(workspace, f"article-manual-seed{seed}")) for seed in (1, 2, 3))
    rename_run(workspace, first, "wide")
    (workspace / "runs" / third.run_id / "evaluation.json").unlink()
    history = load_history(workspace)
    fields = {"run_id": second.run_id, "dataset_id": second.dataset_id, "dataset_digest": second.dataset_digest}
    fields |= {"action": "promote", "forced": True, "reasons": ("forced",), "why": "<i>because"}
    append_entry(workspace, history, next_champion(history, second), **fields)
    return workspace


@pytest.fixture(scope="module")
def written(workspace):
    done = run_in_process("report", "--all", "--workspace", workspace, "--json")
    assert done.code == 0, done.err
    return done.json, read_page(done.json["path"])


def test_all_runs_are_listed_and_evaluated_ones_are_linked(written, workspace):
    done, page = written
    assert done["path"] == str(workspace / "reports" / "pages" / "index.html")
    rows = page.rows("runs")[1:]
    assert len(rows) == 3
    assert {row[0].split()[0].split("-")[0] for row in rows} == {"wide", "article"}
    assert [row[2] for row in rows if "seed3" in row[0]] == ["not evaluated"]
    links = [each["href"] for each in page.all("a", "runs")]
    assert len(links) == len(done["runs"]) == 2
    assert all((workspace / "reports" / "pages" / link).is_file() for link in links)


def test_the_champion_and_the_history_are_shown_as_text(written):
    page = written[1]
    [champion] = [row[0] for row in page.rows("runs") if row[0].endswith(" champion")]
    assert "seed2" in champion
    [entry] = page.all("li", "history")
    assert "promoted by force" in entry["text"]
    assert "<i>because" in entry["text"]
    assert page.all("h1")[0]["text"] == "Runs of <b>ws"


def test_pages_that_exist_are_not_written_again(written, workspace):
    page = next(path for path in (workspace / "reports" / "pages").iterdir() if path.name != "index.html")
    before = page.stat().st_mtime_ns
    assert run_in_process("report", "--all", "--workspace", workspace).code == 0
    assert page.stat().st_mtime_ns == before


@pytest.mark.parametrize("more", [["wide"], ["--to", "page.html"]])
def test_all_takes_no_run_and_no_target(more, workspace):
    done = run_in_process("report", "--all", *more, "--workspace", workspace)
    assert done.code == 2
    assert "leave out RUN and --to" in done.err


def test_runs_that_cannot_be_read_are_counted_on_the_page(workspace, tmp_path):
    damaged = shutil.copytree(workspace, tmp_path / "ws")
    (find_run_folder(damaged, "article-manual-seed3") / "run.json").write_text("{")
    done = run_in_process("report", "--all", "--workspace", damaged)
    assert done.code == 4
    page = read_page(damaged / "reports" / "pages" / "index.html")
    [warning] = [each for each in page.all("p") if each.get("class") == "warning"]
    assert warning["text"].endswith("left out: 1.")


def test_runs_are_sorted_and_filtered_in_the_browser(written, driver):
    browser.show(driver, Path(written[0]["path"]))
    cells = "return [...document.querySelectorAll('#listing-table tbody {}')].map((cell) => cell.{})"
    heading = driver.find_element(By.CSS_SELECTOR, "#listing-table thead th:nth-child(2) button")
    heading.click()
    values = cells.format("td:nth-child(2)", "dataset.value")
    ascending = driver.execute_script(values)
    assert ascending[2] == ""
    assert ascending[:2] == sorted(ascending[:2], key=float)
    heading.click()
    assert driver.execute_script(values) == [*reversed(ascending[:2]), ""]
    driver.find_element(By.ID, "listing-words").send_keys("article CHAMPION")
    [row] = driver.execute_script(cells.format("tr:not([hidden])", "textContent"))
    assert "seed2" in row
    assert driver.find_element(By.ID, "listing-count").text == "1 of 3 runs"
    assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.parametrize("found", [True, False])
def test_the_page_is_opened_in_the_browser(found, workspace, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or found)
    done = run_in_process("report", "wide", "--open", "--workspace", workspace, "--json")
    assert done.code == 0, done.err
    assert opened == [Path(done.json["path"]).as_uri()]
    assert ("found no browser" in done.err) != found


def test_a_workspace_without_runs_has_an_index(tmp_path):
    done = run_in_process("report", "--all", "--workspace", tmp_path, "--json")
    assert done.code == 0, done.err
    assert "No run yet" in read_page(done.json["path"]).by_id("runs")["text"]
