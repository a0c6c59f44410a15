"""A real browser, headless: Debian's chromium and its driver, by selenium."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

REQUIRED = "NAND_BROWSER"
PATIENCE = 180.0
NEVER_HERE = "127.0.0.1:9"


def programs() -> tuple[str, str]:
    """Browser and driver; without them the test is skipped, or fails where ``NAND_BROWSER=required`` says so."""
    names = ("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)
    browser, driver = (next(filter(None, map(shutil.which, one)), None) for one in names)
    if browser and driver:
        return browser, driver
    reason = f"no browser: {'chromium' if not browser else 'chromedriver'} is not installed"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(reason)
    pytest.skip(reason)


class Browser:
    """A window on a page of this machine; whatever is elsewhere cannot be reached."""

    def __init__(self, driver: Chrome, page: str) -> None:
        self.driver, self.page = driver, page

    def go(self, path: str) -> None:
        self.driver.get(self.page + path)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return " ".join(self.one(selector).text.split())

    def until(self, true: Callable[[], Any]) -> Any:
        """What ``true`` gives once it is true; the page may be loaded anew meanwhile."""
        ignored = (StaleElementReferenceException, WebDriverException)
        try:
            return WebDriverWait(self.driver, PATIENCE, 0.1, ignored).until(lambda _: true())
        except TimeoutException:
            pytest.fail(f"it did not come; the page says: {self.text('body')[:1500]}")

    def click(self, selector: str) -> None:
        element = self.until(lambda: self.one(selector))
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def type(self, selector: str, text: str) -> None:
        element = self.one(selector)
        element.clear()
        element.send_keys(text)

    def script(self, code: str) -> Any:
        return self.driver.execute_script(code)

    def requests(self) -> set[str]:
        """Hosts that were asked for anything since the last look."""
        messages = (json.loads(one["message"])["message"] for one in self.driver.get_log("performance"))
        sent = (one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent")
        return {urlsplit(url).netloc for url in sent}

    def complaints(self) -> list[str]:
        """What stands in the browser's console since the last look."""
        return [one["message"] for one in self.driver.get_log("browser")]


@contextmanager
def browser(page: str, width: int = 1400) -> Iterator[Browser]:
    """A headless browser for the page at an address."""
    chromium, chromedriver = programs()
    options = ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={width},1000",
        f"--proxy-server={NEVER_HERE}", "--disable-background-networking",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(chromedriver))
    try:
        yield Browser(driver, page)
    finally:
        driver.quit()
