"""The built book in headless Chromium, as its reader sees it: light, dark, on a phone, without a network."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading

import pytest
import yaml
from filelock import FileLock

from overparam.core import chapters
from tests.conftest import ROOT

pytest.importorskip("playwright", reason="playwright is not installed")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, expect, sync_playwright

HTML = ROOT / "book" / "_build" / "html"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Whether the ledger's medians rise (1) or fall (-1).
SORTED = """sign => {
    const cells = [...document.querySelectorAll("table.ledger:not(.costs) tbody td:nth-child(4)")];
    return cells.map(cell => sign * cell.dataset.sort).every((value, i, all) => i === 0 || all[i - 1] <= value);
}"""
TABLE = "table.ledger:not(.costs)"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}


def pages() -> list[str]:
    """Every page of the table of contents."""
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    top = [entry for part in contents["parts"] for entry in part["chapters"]]
    below = [section for entry in top for section in entry.get("sections", [])]
    return [contents["root"], *(entry["file"] for entry in top + below)]


PAGES = pages()
CHAPTER_PAGES = [chapter.name for chapter in chapters.chapters()]


@pytest.fixture(scope="module")
def site(tmp_path_factory, testrun_uid):
    """Build the book, warnings as errors, and serve it; of the workers of one test run the first builds."""
    built = tmp_path_factory.getbasetemp().parent / f"site-{testrun_uid}"
    with FileLock(f"{built}.lock"):
        if not built.exists():
            start = "from overparam.cli import main; main()"
            build = [sys.executable, "-c", start, "book", "build", "--strict"]
            done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
            built.touch()
    handler = functools.partial(QuietHandler, directory=str(HTML))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves without a word."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser():
    own = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=own, args=FLAGS)
        except Error as error:
            if "CI" in os.environ:
                raise
            pytest.skip(f"no Chromium on this machine: {error.message.splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def visit(browser, site):
    """Open a page and collect what a reader without a network would miss."""
    context = browser.new_context(viewport=WIDE, color_scheme="light")

    def open_page(name):
        page = context.new_page()
        page.faults = []
        page.on("console", lambda m: page.faults.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: page.faults.append(str(e)))
        page.on("requestfailed", lambda r: page.faults.append(f"failed: {r.url}"))
        page.on("response", lambda r: page.faults.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        local = (site, "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(local) else page.faults.append(f"external: {r.url}"))
        page.goto(f"{site}/{name}")
        # Colours that still fade from one mode to the other would be measured half-way.
        page.add_style_tag(content="*, *::before, *::after { transition: none !important; }")
        formulas = page.locator("span.math, div.math").count()
        page.wait_for_function(f"document.querySelectorAll('mjx-container').length >= {formulas}")
        return page

    yield open_page
    context.close()


@pytest.fixture(scope="module", params=PAGES)
def page(request, visit):
    """Each page, opened once for all tests of it; they set the mode and the width that they need."""
    page = visit(f"{request.param}.html")
    yield page
    page.close()


@pytest.fixture(scope="module", params=CHAPTER_PAGES)
def chapter_page(request, visit):
    """Each chapter's page, and its name."""
    page = visit(f"{request.param}.html")
    yield page, request.param
    page.close()


def look(page, mode="light", viewport=WIDE):
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme=mode, media="screen")
    page.wait_for_function(f"document.documentElement.dataset.theme === '{mode}'")


def test_a_page_loads_whole_without_a_network(page):
    page.wait_for_load_state("networkidle")
    assert page.faults == []
    assert page.title()
    assert page.locator("article h1").count() == 1


def test_every_equation_is_rendered(page):
    assert page.locator("mjx-merror").count() == 0
    for text in page.locator("span.math, div.math").all_inner_texts():
        assert "\\(" not in text
        assert "\\[" not in text
    # The contents, not what is seen: solutions are folded.
    assert [text for text in page.locator("article p").all_text_contents() if "$" in text] == []


def test_every_image_has_an_alternative_text_and_arrives(page):
    for image in page.locator("article img").all():
        assert len(image.get_attribute("alt") or "") > 20, image.get_attribute("src")
        assert image.evaluate("e => e.naturalWidth") > 0


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_no_page_scrolls_sideways(page, mode, viewport):
    look(page, mode, viewport)
    wide, seen = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= seen


def test_no_equation_is_cut_at_the_edge_of_the_text(page):
    if "/api/" in page.url:
        pytest.skip("in the reference a docstring's long equation scrolls")
    look(page)
    cut = """() => [...document.querySelectorAll("mjx-container[display=true]")]
        .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.closest("[id]").id)"""
    assert page.evaluate(cut) == []


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_axe_finds_no_serious_violation(page, mode):
    look(page, mode)
    violations = Axe().run(page).response["violations"]
    serious = [v for v in violations if v["impact"] in ("serious", "critical")]
    assert not serious, [(v["id"], [node["html"][:200] for node in v["nodes"][:3]]) for v in serious]


@pytest.mark.parametrize("name", CHAPTER_PAGES)
def test_search_finds_the_chapter(visit, name):
    author = chapters.find(name).paper.authors[0].split()[-1]
    page = visit(f"search.html?q={author}")
    expect(page.locator(f"#search-results a[href*='{name}']").first).to_be_visible()
    assert page.faults == []
    page.close()


def test_a_folded_solution_opens(chapter_page):
    page, _ = chapter_page
    look(page)
    solutions = page.locator(".solution.dropdown")
    assert solutions.count() >= 3
    for solution in solutions.all():
        inside = solution.locator("p").last
        expect(inside).not_to_be_visible()
        solution.locator("button").first.click()
        expect(inside).to_be_visible()
        solution.locator("button").first.click()
        expect(inside).not_to_be_visible()


def test_a_claim_leads_to_its_row_of_the_ledger(visit):
    page = visit("imperfect_data/index.html")
    links = page.locator("article a[href*='ledger.html#']")
    anchors = [link.get_attribute("href").partition("#")[2] for link in links.all()]
    assert len(anchors) >= 5
    ledger = visit("ledger.html")
    for anchor, claim in zip(anchors, links.locator("code").all_text_contents(), strict=True):
        expect(ledger.locator(f"tr#{anchor}")).to_contain_text(claim)


def test_figures_follow_the_mode(chapter_page):
    page, _ = chapter_page
    images = page.locator("article figure img")
    assert images.count() >= 3
    for mode, filtered in (("dark", True), ("light", False)):
        look(page, mode)
        for image in images.all():
            assert ("invert" in image.evaluate("e => getComputedStyle(e).filter")) is filtered


def test_the_launch_buttons_lead_to_the_pair_and_to_binder(chapter_page):
    page, name = chapter_page
    links = [a.get_attribute("href") or "" for a in page.locator(".dropdown-launch-buttons a").all()]
    assert any("colab.research.google.com" in link and link.endswith(f"{name}.ipynb") for link in links)
    assert any("mybinder.org" in link for link in links)


def test_the_printed_page_shows_the_text_alone_and_whole(chapter_page):
    page, _ = chapter_page
    page.emulate_media(media="print")
    expect(page.locator(".bd-sidebar-primary")).not_to_be_visible()
    expect(page.locator("#jb-print-docs-body h1")).to_be_visible()
    expect(page.locator("article p").first).to_be_visible()
    expect(page.locator(".solution.dropdown p").last).to_be_visible()


def test_the_start_page_has_a_card_and_a_verdict_for_every_chapter(visit):
    page = visit("intro.html")
    for name in CHAPTER_PAGES:
        card = page.locator(f".sd-card:has(a[href*='{name}'])")
        expect(card).to_contain_text(re.compile(r"\d+ of \d+ claims reproduced"))


def test_the_ledger_has_a_row_for_every_claim_and_sorts_by_a_click(visit):
    page = visit("ledger.html")
    rows = page.locator(f"{TABLE} tbody tr")
    ledger = chapters.ledger()
    assert rows.count() == sum(len(row["claims"]) for row in ledger.values())
    median = page.locator(f"{TABLE} th", has_text="Measured")
    for order in ("descending", "ascending"):
        median.click()
        assert median.get_attribute("aria-sort") == order
        # The script sorts a moment after the click.
        page.wait_for_function(SORTED, arg=1 if order == "ascending" else -1)


def test_every_row_of_the_ledger_leads_to_its_chapter_and_to_the_paper(visit):
    page = visit("ledger.html")
    address = "cell => cell.querySelector('a').getAttribute('href')"
    links = page.locator(f"{TABLE} tbody tr").evaluate_all(
        f"rows => rows.map(row => [row.cells[0], row.cells[6]].map({address}))"
    )
    expected = []
    for name, row in chapters.ledger().items():
        arxiv = chapters.find(name).paper.arxiv
        paper = f"https://arxiv.org/abs/{arxiv}" if arxiv else "bibliography.html"
        expected += [[f"{name}.html", paper]] * len(row["claims"])
    assert links == expected


def test_the_ledger_can_be_filtered_by_words_part_and_verdict(visit):
    page = visit("ledger.html")
    claims = [(name, claim) for name, row in chapters.ledger().items() for claim in row["claims"]]
    shown = page.locator(f"{TABLE} tbody tr:visible")
    said = page.locator(".ledger-filters output")
    expect(said).to_have_text(f"{len(claims)} of {len(claims)} claims")
    form = page.locator("form.ledger-filters")
    form.get_by_label("Verdict").select_option("fragile")
    fragile = [(name, claim) for name, claim in claims if claim["verdict"] == "fragile"]
    expect(shown).to_have_count(len(fragile))
    form.get_by_label("Part").select_option("dynamics")
    dynamic = [claim["id"] for name, claim in fragile if name.startswith("dynamics/")]
    assert shown.locator("code").all_text_contents() == dynamic
    form.get_by_label("Words").fill("alpha_squared sensing")
    assert shown.locator("code").all_text_contents() == ["alpha_squared_rate"]
    expect(said).to_have_text(f"1 of {len(claims)} claims")
    form.get_by_label("Words").fill("no such thing")
    expect(shown).to_have_count(0)
    # A link to a row shows it, whatever was filtered.
    page.evaluate("location.hash = 'step_law-convex'")
    expect(page.locator("tr#step_law-convex")).to_be_in_viewport()


def test_the_map_has_a_mark_for_every_claim_and_seed_and_names_what_failed(visit):
    page = visit("ledger.html")
    squares = crosses = 0
    for kind in ("far", "some", "close", "failed"):
        paths = page.locator(f".seed-map path.seed-{kind}").evaluate_all("all => all.map(p => p.getAttribute('d'))")
        marks = sum(len(re.findall(r"M", path)) for path in paths)
        crosses, squares = (crosses + marks, squares) if kind == "failed" else (crosses, squares + marks)
    claims = [claim for row in chapters.ledger().values() for claim in row["claims"]]
    assert squares == sum(claim["passed"] for claim in claims)
    assert crosses == sum(len(claim["held"]) - claim["passed"] for claim in claims)
    titles = page.locator(".seed-map rect title").all_text_contents()
    assert len(titles) == crosses
    assert any(re.fullmatch(r"alpha_squared_rate, seed \d+: [\d.]+", title) for title in titles)


def test_the_ledger_says_what_it_costs_and_what_it_ran_on(visit):
    page = visit("ledger.html")
    said = page.locator(".ledger-totals").inner_text()
    rows = chapters.ledger().values()
    assert re.search(rf"all {sum(len(row['seeds']) for row in rows)} runs \d+\.\d CPU-hours", said)
    for row in rows:
        assert row["runs"][0]["machine"]["processor"] in said
        assert f"torch {row['runs'][0]['versions']['torch']}" in said
    assert page.locator("table.costs tbody tr").count() == len(chapters.ledger())


def test_the_page_of_what_does_not_hold_has_the_numbers_of_every_such_claim(visit):
    page = visit("fragile.html")
    for row in chapters.ledger().values():
        for claim in row["claims"]:
            if claim["verdict"] != "reproduced":
                section = page.locator("section", has=page.locator("h3", has_text=claim["id"])).last
                expect(section).to_contain_text(f"Held with {claim['passed']} of {len(claim['held'])} seeds")
                assert section.locator("p").count() >= 2
