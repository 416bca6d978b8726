"""The run's page in a real browser: phone and desktop, light and dark."""

import shutil

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

WIDTHS = {"phone": 390, "desktop": 1280}


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in ("light", "dark")], ids=str)
def opened(browser, finished, request):
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("requestfailed", lambda asked: page.complaints.append(asked.url))
    page.goto((finished.output / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.scheme = scheme
    yield page
    context.close()


def test_it_loads_fits_and_follows_the_colour_scheme(opened):
    assert opened.complaints == []
    images = opened.evaluate(
        "Promise.all([...document.images].map(i => { i.loading = 'eager';"
        " return i.decode().then(() => [i.alt, i.naturalWidth], () => [i.alt, 0]) }))"
    )
    assert len(images) >= 3 + 12 + 2 * 4
    assert [alt for alt, width in images if not width] == []
    assert [alt for alt, _ in images if not alt.strip()] == []
    wide, view = opened.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= view
    paper, ink = opened.evaluate(
        "['backgroundColor', 'color'].map(k => getComputedStyle(document.body)[k].match(/[\\d.]+/g)"
        ".slice(0, 3).reduce((a, b) => a + +b, 0) / 3)"
    )
    dark = opened.scheme == "dark"
    assert (paper < 80) if dark else (paper > 200)
    assert abs(paper - ink) > 120
