"""What counts as an error of a page."""

from tests.browser.chromium import Watched

# The box grows each time the observer hears that it grew; as on MLflow's pages, a script prints what is reported.
GROWING = """
<div id="box" style="width: 10px"></div>
<script>
  let told = 0;
  window.onerror = (message, source, line, column, error) => console.error(error, message);
  new ResizeObserver(() => { if (++told < 5) box.style.width = `${box.offsetWidth + 10}px`; }).observe(box);
  const wait = () => told < 5 ? requestAnimationFrame(wait) : document.title = "settled";
  wait();
</script>
"""


def test_sizes_of_a_later_frame_are_no_error(browser: Watched) -> None:
    printed: list[str] = []
    browser.page.on("console", lambda message: printed.append(message.text))
    browser.page.set_content(GROWING)
    browser.page.wait_for_function("document.title === 'settled'")
    assert [line for line in printed if "ResizeObserver" in line]
    assert browser.errors == []


def test_printed_and_thrown_errors_are_recorded(browser: Watched) -> None:
    browser.page.set_content(
        "<script>console.error('printed'); console.warn('a warning'); throw Error('thrown')</script>"
    )
    assert sorted(browser.errors) == ["printed", "thrown"]
