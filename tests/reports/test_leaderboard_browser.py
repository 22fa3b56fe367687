"""The leaderboard in a browser, from file://: what a reader can do, and what a hostile output cannot."""

import re
from pathlib import Path

import pytest
from chromium import headless_chromium
from made_up_family import SUITE, Family
from made_up_leaderboard import LABEL, SCRIPT, crowded, make_store, merged, references, scores, shown

from reports.leaderboard.page import render, write_page
from results.leaderboard import gather
from results.run_manifest import save_run
from results.store import Store

pytestmark = pytest.mark.slow

RANKED = [LABEL, "metis", "task_arithmetic", "average", "dare"]


@pytest.fixture(scope="module")
def browser():
    with headless_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    return gather([make_store(tmp_path_factory.mktemp("leaderboard") / "store").root])


@pytest.fixture(scope="module")
def address(board, tmp_path_factory) -> str:
    return write_page(shown(board), tmp_path_factory.mktemp("page")).as_uri()


@pytest.fixture
def visit(browser):
    """Opens a page; at the end nothing was loaded but files, no script of others ran, nothing complained."""
    pages, said, asked = [], [], []

    def visit(address: str, width: int = 1280, height: int = 800):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(5000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        pages.append(page)
        return page

    yield visit
    for page in pages:
        assert page.evaluate("window.pwned") is None
        page.close()
    assert said == []
    assert asked and all(url.startswith(("file://", "data:image/svg+xml,", "blob:null/")) for url in asked)


def titles(page) -> list[str]:
    """The merged entries in the table, from the top."""
    return page.locator("#board tr.merged td.title a").all_text_contents()


def wait_until(page, condition):
    """Ask until a condition holds; the page's policy forbids what playwright's own polls evaluate."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"{condition} does not come true")


def panel(page):
    return page.locator("dialog[open]")


def filled(page):
    """The panel that is open, with all that it shows."""
    page.wait_for_selector("dialog[open] .content:not([aria-busy])")
    return panel(page)


def suite(page, label: str = "lab, 3 tasks") -> None:
    page.locator("select[name=suite]").select_option(label=label)


def test_groups_of_rank_are_shown_league_by_league(visit, address):
    page = visit(address)
    assert page.locator("#board tr.league").all_text_contents() == [
        "lab: math, multilingual, safety · backbone base",
        "lab: math, safety · backbone base",
    ]
    assert titles(page) == [*RANKED, "average"]
    assert page.locator("#board tr.merged td.rank").all_text_contents() == ["1", "1", "2", "2", "–", "1"]
    assert page.locator("#board tr.merged td.average").nth(4).text_content() == "incomplete (2/4)"
    begins = page.locator("#board tr.begins td.title a").all_text_contents()
    assert begins[:2] == ["task_arithmetic", "dare"]


def test_a_click_on_a_heading_sorts_and_another_turns_round(visit, address):
    page = visit(address)
    suite(page)
    heading = page.get_by_role("columnheader", name="math")
    assert heading.get_attribute("aria-sort") == "none"
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    best_first = [LABEL, "metis", "dare", "task_arithmetic", "average"]
    assert titles(page) == best_first
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert titles(page) == best_first[::-1]
    assert page.get_by_role("columnheader", name="Rank").get_attribute("aria-sort") == "none"
    # What is not known comes last either way.
    for _ in range(2):
        page.get_by_role("columnheader", name="Average").get_by_role("button").click()
        assert titles(page)[-1] == "dare"


def test_entries_are_filtered_by_suite_protocol_method_and_text(visit, address):
    page = visit(address)
    suite(page, "lab, 2 tasks")
    assert titles(page) == ["average"]
    assert page.get_by_role("columnheader", name="multilingual").count() == 0
    suite(page)
    assert page.get_by_role("columnheader", name="multilingual").count() == 1
    page.locator("select[name=protocol]").select_option("many-shot")
    assert titles(page) == ["metis"]
    assert page.locator("#count").inner_text().startswith("1 of 6 entries")
    page.locator("select[name=protocol]").select_option("")
    page.locator("select[name=method]").select_option("ties")
    assert titles(page) == [LABEL]
    page.locator("select[name=method]").select_option("")
    page.get_by_label("Search").fill("scaling 0.3")
    assert titles(page) == ["task_arithmetic"]
    page.get_by_role("button", name="Show all").click()
    assert titles(page) == [*RANKED, "average"]


def test_the_base_and_the_experts_can_be_left_out(visit, address):
    page = visit(address)
    suite(page)
    assert page.locator("#board tr.expert").count() == 3
    page.get_by_label("base and experts").uncheck()
    assert page.locator("#board tr.expert, #board tr.base").count() == 0
    assert titles(page) == RANKED


def test_an_entry_opens_with_its_scores_pictures_recipe_and_outputs(visit, address):
    page = visit(address)
    page.get_by_role("link", name="metis").press("Enter")
    opened = filled(page)
    assert opened.get_by_role("heading", level=2).inner_text() == "metis"
    assert "1 of 2 by average" in opened.inner_text()
    row = opened.get_by_role("row", name="math gsm8k").inner_text()
    assert "0.931 [0.843, 1.000]" in row and "0.900" in row
    assert "rounds: 2" in opened.locator("pre").first.inner_text()
    opened.locator("img").last.scroll_into_view_if_needed()
    wait_until(page, "[...document.querySelectorAll('dialog img')].every((one) => one.naturalWidth > 0)")
    assert opened.locator("img").count() == 1
    assert opened.locator(".bars .bar").count() == 1 + 3
    document = opened.locator("article").first
    assert document.locator("h5").all_inner_texts() == [
        "Prompt", "Merged, score 0.000", "Expert, score 1.000", "Expected",
    ]  # fmt: skip
    assert document.locator("pre").nth(2).inner_text().startswith("the expert's answer")
    another = opened.locator("details", has_text="m_arc, document")
    assert not another.locator("article").first.is_visible()
    another.locator("summary").click()
    assert another.locator("article").first.is_visible()


def test_a_script_in_an_output_or_a_name_is_text(visit, address):
    page = visit(address)
    page.get_by_role("link", name=LABEL).click()
    opened = filled(page)
    assert opened.get_by_role("heading", level=2).inner_text() == LABEL
    assert opened.locator("article pre").nth(1).inner_text().startswith(SCRIPT)
    assert opened.locator("article script, article b, h2 img, h2 i").count() == 0


def test_back_forward_and_reload_keep_what_is_shown(visit, address):
    page = visit(address)
    suite(page)
    page.get_by_role("columnheader", name="Gap").get_by_role("button").click()
    page.get_by_role("link", name="metis").click()
    by_gap = titles(page)

    def is_as_left():
        assert titles(page) == by_gap
        assert page.locator("select[name=suite]").locator("option:checked").inner_text() == "lab, 3 tasks"
        heading = page.locator("#board th[aria-sort=descending]")
        assert heading.inner_text() == "Gap"

    assert panel(page).count() == 1
    is_as_left()
    page.reload()
    assert panel(page).get_by_role("heading", level=2).inner_text() == "metis"
    is_as_left()
    page.go_back()
    page.wait_for_selector("dialog:not([open])", state="attached")
    is_as_left()
    page.go_forward()
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog:not([open])", state="attached")
    wait_until(page, "!location.hash.includes('entry')")
    is_as_left()
    page.go_back()
    page.wait_for_selector("dialog[open]")
    page.go_back()
    page.go_back()
    page.wait_for_selector("#board th[aria-sort=ascending]")
    assert titles(page) == RANKED
    page.go_back()
    page.wait_for_selector("#board tr.league")


def test_a_link_to_an_entry_opens_it_and_one_to_what_is_gone_shows_all(visit, address):
    page = visit(address)
    link = page.get_by_role("link", name="task_arithmetic").get_attribute("href")
    assert panel(visit(address + link)).get_by_role("heading", level=2).inner_text() == "task_arithmetic"
    stale = f"{address}#suite=gone&method=gone&sort=task:gone&entry=gone&nothing=1"
    gone = visit(stale)
    assert titles(gone) == [*RANKED, "average"]
    assert panel(gone).count() == 0
    gone.get_by_role("columnheader", name="Average").get_by_role("button").click()
    assert gone.locator("#board th[aria-sort=descending]").inner_text() == "Average"
    assert "suite" not in gone.url
    turned = visit(stale, 375, 812)
    turned.locator("#turn").click()
    assert titles(turned) == ["dare", "average", "task_arithmetic", "metis", LABEL, "average"]
    one_suite = visit(f"{address}#suite={two_tasks(gone)}&backbone=gone")
    one_suite.get_by_role("columnheader", name="safety").get_by_role("button").click()
    assert one_suite.locator("#board th[aria-sort=descending]").inner_text() == "safety"


def two_tasks(page) -> str:
    return page.locator("select[name=suite] option", has_text="lab, 2 tasks").get_attribute("value")


def test_a_heading_of_a_task_that_is_not_shown_does_nothing(visit, address):
    page = visit(address)
    page.evaluate("sortBy('task:gone')")
    assert titles(page) == [*RANKED, "average"]


def test_an_entry_in_another_tab_keeps_the_table(visit, address):
    page = visit(address)
    suite(page)
    page.get_by_role("columnheader", name="Gap").get_by_role("button").click()
    page.get_by_label("Search").fill("scaling 0.3")
    link = page.get_by_role("link", name="task_arithmetic").get_attribute("href")
    other = visit(address + link)
    assert titles(other) == ["task_arithmetic"]
    assert other.locator("#board th[aria-sort=descending]").inner_text() == "Gap"
    assert panel(other).get_by_role("heading", level=2).inner_text() == "task_arithmetic"


def test_however_it_is_sorted_leagues_stay_together(visit, address):
    page = visit(address)
    leagues = page.locator("#board tr.league")
    for name in ("Average", "Average", "Method", "Rank", "Suite"):
        page.get_by_role("columnheader", name=name).get_by_role("button").click()
        # What is not yet laid out has no inner text.
        whole = "lab: math, multilingual" in (leagues.first.text_content() or "")
        assert whole == (name != "Suite")
        assert leagues.count() == 2


def test_the_same_records_in_two_leagues_are_two_rows(visit, tmp_path):
    for name in ("lab", "other"):
        family = Family(Store(tmp_path / "store"), [])
        references(family)
        merged(family, "ties", scores(20, 24, 18, 22, 27), "ties")
        save_run(family.store, family.run(SUITE.but(name=name), name=name))
    page = visit(write_page(shown(gather([tmp_path / "store"])), tmp_path / "page").as_uri())
    assert titles(page) == ["ties", "ties"]
    page.get_by_role("link", name="ties").last.click()
    assert "other: math" in filled(page).inner_text()


def test_what_is_left_out_is_said_above_its_league(visit, tmp_path):
    family = Family(Store(tmp_path / "store"), [])
    references(family)
    family.entries[2:3] = []
    family.add("guessing", "expert", scores(8, 10, 0, 30, 24), task="multilingual")
    for seed, right in enumerate((scores(10, 24, 18, 22, 27), scores(34, 24, 18, 22, 27))):
        merged(family, f"ties, seed {seed}", right, "ties", title="ties", seed=seed)
    save_run(family.store, family.run(SUITE.but(leave_out_at_chance=True)))
    page = visit(write_page(shown(gather([tmp_path / "store"])), tmp_path / "page").as_uri())
    assert page.locator("#count").inner_text().endswith("multilingual left out: its expert is at chance")
    row = page.locator("#board tr.merged")
    assert "n = 80" in (row.text_content() or "")
    assert row.locator(".weakest").text_content() == "differs by seed"


@pytest.mark.full
def test_a_thousand_entries_are_sorted(visit, board, tmp_path):
    file = tmp_path / "index.html"
    file.write_text(render(shown(crowded(board, 1000))))
    page = visit(file.as_uri())
    assert len(titles(page)) == 1000
    for name in ("Worst task", "Method", "Rank", "math", "Average"):
        page.locator("#board th button", has_text=re.compile(f"^{name}$")).click()
        order = "ascending" if name in ("Method", "Rank") else "descending"
        assert page.locator(f"#board th[aria-sort={order}]").inner_text() == name
    values = [float(text) for text in page.locator("td.average b").all_text_contents()]
    assert len(values) == 1000 and values == sorted(values, reverse=True)


def test_on_a_phone_nothing_is_wider_than_the_screen(visit, address):
    page = visit(address, 375, 812)
    suite(page)

    def widest():
        return page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")

    assert widest() <= 375
    assert titles(page) == RANKED
    assert page.locator("#board thead").is_hidden()
    page.locator("select[name=sort]").select_option("Worst task")
    assert titles(page)[:2] == [LABEL, "metis"]
    page.locator("#turn").click()
    assert titles(page)[:2] == ["average", "task_arithmetic"]
    page.get_by_role("link", name="metis").click()
    opened = filled(page)
    assert opened.bounding_box()["width"] == 375
    assert widest() <= 375
    assert page.evaluate("document.querySelector('.content').scrollWidth") <= 375
    # No score is beyond the edge, and each says what it is; pictures scroll, and can be read.
    assert opened.locator(".scores").first.bounding_box()["width"] <= 375
    assert opened.locator(".scores td.number").first.get_attribute("data-title") == "NP"
    assert opened.locator(".scores thead").first.is_hidden()
    assert opened.locator("img").first.bounding_box()["width"] >= 500
    for scroller in page.locator(".scroll").all():
        assert scroller.get_attribute("tabindex") == "0" and scroller.get_attribute("aria-label")
    opened.get_by_role("button", name="Close").click()
    assert panel(page).count() == 0


@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_can_be_read_in_the_dark(browser, address, width):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme="dark")
    page.goto(address)
    colours = page.evaluate(
        "(({ color, backgroundColor }) => [color, backgroundColor])(getComputedStyle(document.body))"
    )
    text, ground = [sum(map(int, colour[4:-1].split(", "))) for colour in colours]
    assert text - ground > 500
    page.close()


def test_there_is_a_reason_where_a_browser_is_missing(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium"), headless_chromium():
        pass
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"), headless_chromium():
        pass


def test_a_leaderboard_is_one_file(address):
    folder = Path(address.removeprefix("file://")).parent
    assert [one.name for one in folder.iterdir()] == ["index.html"]
