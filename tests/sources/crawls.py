"""What the tests of spiders share: a crawl into a folder, which may be broken off after any of its pages."""

from foxgan.sources.crawl import Asking, crawl
from foxgan.sources.frontier import Frontier


class BrokenOff(Exception):
    """As if it were killed."""


def crawled(spider, folder, url, limit=None, break_after=None, contact="me@example.org", retries=5):
    """The records that are known after a crawl with `spider` at `url`; raises BrokenOff after so many pages."""
    pages = []

    def on_page(new):
        pages.append(new)
        if len(pages) == break_after:
            raise BrokenOff

    frontier = Frontier(folder)
    try:
        crawl(spider, frontier, Asking(url, contact, retries=retries), limit, on_page)
        return list(frontier.records(limit))
    finally:
        frontier.close()
