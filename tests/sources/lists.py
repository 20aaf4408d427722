"""What the tests of scraping from addresses share."""

from foxgan.dataset.index import read_index
from foxgan.stages.base import Context
from foxgan.stages.scrape import Scrape

MUSEUM = tuple(n for n in range(60) if n % 3 != 1 and n % 10 != 5)  # photos that the fakes' museum has


def photos(fakes, count, host="museum"):
    """Addresses of different photos; those of two hosts are different, too."""
    numbers = MUSEUM if host == "museum" else [n for n in range(60) if n % 3 == 1]
    folder = "media" if host == "museum" else "files/photos"
    assert count <= len(numbers)
    return [f"{fakes.url(host)}/{folder}/{number}.jpg" for number in numbers[:count]]


def scraped(out, urls, ctx=None, **fields):
    """The rows of `foxgan scrape` from a list of addresses, by address."""
    out.mkdir(parents=True, exist_ok=True)
    path = out.with_name(f"{out.name}.txt")
    path.write_text("\n".join(urls))
    fields = {"rate": 1000, "timeout": 2, "retries": 1, "workers": 0, "max_file_mb": 1} | fields
    stage = Scrape(source="urls", path=path, **fields)
    stage.check()
    stage.run(out, ctx or Context())
    return {row["image_url"]: row for row in read_index(out, kept=False).to_dicts()}
