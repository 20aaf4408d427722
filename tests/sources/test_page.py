"""The spider of web pages against sites of the fakes and some of the test's own."""

from collections import Counter
from itertools import count

import pytest
from werkzeug import Response

from foxgan.errors import StageError, UsageError
from foxgan.sources.frontier import Frontier
from foxgan.sources.page import WebPages
from tests.fakes.fixture import fakes as fakes
from tests.sources.crawls import BrokenOff, crawled


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(WebPages, "rate", 1000.0)


@pytest.fixture
def ask(tmp_path):
    def run(url, folder="crawl", limit=None, break_after=None, retries=5, again=False, **params):
        if again:
            known = Frontier(tmp_path / folder)
            known.reopen()
            known.close()
        return crawled(WebPages(url, **params), tmp_path / folder, url, limit, break_after, retries=retries)

    return run


@pytest.fixture
def site(httpserver):
    """Serve pages by their paths, and say which were asked for."""

    def serve(pages, robots="", **options):
        httpserver.expect_request("/robots.txt").respond_with_data(robots)
        for path, body in pages.items():
            handler = httpserver.expect_request(path.partition("?")[0], query_string=path.partition("?")[2])
            handler.respond_with_data(body, **{"content_type": "text/html", **options})
        return httpserver.url_for("/")[:-1]

    serve.asked = lambda: [r.full_path.rstrip("?") for r, _ in httpserver.log if r.path != "/robots.txt"]
    return serve


def whole(fakes, query=""):
    return [f"{fakes.url('pages')}/files/photos/{photo.number}.jpg{query}" for photo in fakes.world.photos]


def test_a_gallery_is_walked_to_its_end_and_every_photo_found_once_in_full_size(fakes, ask):
    found = ask(f"{fakes.url('pages')}/gallery")
    assert [record["image_url"] for record in found] == whole(fakes)
    assert {record["license"] for record in found} == {"CC-BY-4.0"}
    assert {record["license_url"] for record in found} == {"https://creativecommons.org/licenses/by/4.0/"}
    assert found[-1]["landing_url"] == f"{fakes.url('pages')}/gallery?page=10"
    assert max(Counter(fakes.visits("pages").paths).values()) == 1


def test_base_addresses_and_links_in_the_head_count(fakes, ask):
    found = ask(f"{fakes.url('pages')}/blog/1.html")
    assert [record["image_url"] for record in found] == whole(fakes, "?a=1&b=2")
    assert {record["license"] for record in found} == {"unknown"}


def test_a_numbered_address_needs_no_links_and_ends_where_nothing_new_comes(fakes, ask, site):
    found = ask(f"{fakes.url('pages')}/blog/{{page}}.html")
    assert [record["image_url"] for record in found] == whole(fakes, "?a=1&b=2")
    assert fakes.visits("pages", "/blog/*").statuses == {200: 10, 404: 1}
    base = site({"/?p=1": "<img src=1.jpg>", "/?p=2": "<img src=2.jpg>", "/?p=3": "<img src=2.jpg>"})
    assert len(ask(f"{base}/?p={{page}}", folder="clamped")) == 2
    assert site.asked() == ["/?p=1", "/?p=2", "/?p=3"]


def test_circles_and_endless_sites_end(fakes, ask):
    ask(f"{fakes.url('pages')}/ring/0")
    assert fakes.visits("pages", "/ring/*").paths == ["/ring/0", "/ring/1", "/ring/2"]
    assert len(ask(f"{fakes.url('pages')}/calendar", folder="calendar", pages=7)) == 1
    assert len(fakes.visits("pages", "/calendar*")) == 7


def test_a_crawl_that_is_broken_off_after_any_page_finds_the_same_and_asks_nothing_twice(fakes, ask):
    url = f"{fakes.url('pages')}/gallery"
    complete = ask(url, folder="whole")
    for after in range(1, 10):
        fakes.reset()
        with pytest.raises(BrokenOff):
            ask(url, folder=str(after), break_after=after)
        assert ask(url, folder=str(after)) == complete
        assert len(fakes.visits("pages", "/gallery*")) == 10


def test_the_page_in_flight_is_all_that_is_asked_again(fakes, ask):
    url = f"{fakes.url('pages')}/gallery"
    for after in range(0, 10, 2):
        fakes.reset()
        fakes.rule("pages/gallery*", "reset", times=1, after=after)
        with pytest.raises(StageError, match="goes on from here"):
            ask(url, folder=str(after), retries=0)
        assert [record["image_url"] for record in ask(url, folder=str(after))] == whole(fakes)
        assert len(fakes.visits("pages", "/gallery*")) == 11


def test_limit_is_kept_and_a_larger_one_goes_on_from_there(fakes, ask):
    url = f"{fakes.url('pages')}/gallery"
    first = ask(url, limit=8)
    assert len(first) == 8 and len(fakes.visits("pages", "/gallery*")) == 2
    assert ask(url, limit=20)[:8] == first
    assert len(fakes.visits("pages", "/gallery*")) == 4


@pytest.mark.parametrize("fault", ["truncated", "reset", "503", "chunked", "gzip"])
def test_answers_that_are_broken_are_asked_for_again(fakes, ask, fault):
    fakes.rule("pages/gallery*", fault, times=1, after=2)
    assert [record["image_url"] for record in ask(f"{fakes.url('pages')}/gallery")] == whole(fakes)


def test_a_page_without_an_end_is_read_so_far(fakes, ask, monkeypatch):
    monkeypatch.setattr("foxgan.sources.page.MAX_BYTES", 100_000)
    fakes.rule("pages/gallery*", "endless", times=1)
    assert [record["image_url"] for record in ask(f"{fakes.url('pages')}/gallery")] == whole(fakes)


def test_robots_txt_holds_for_pages_and_is_asked_for_once(fakes, ask):
    url = f"{fakes.url('pages')}/gallery"
    fakes.serve_robots("pages", "User-agent: foxgan\nDisallow: /gallery\n")
    with pytest.raises(StageError, match="robots.txt of .* keeps robots out"):
        ask(url)
    assert not fakes.visits("pages", "/gallery*")
    assert len(ask(url, folder="rude", robots=False)) == 60
    fakes.serve_robots("pages", "User-agent: *\nDisallow: /gallery?page=3\n")
    assert len(ask(url, folder="half")) == 12
    assert len(fakes.visits("pages", "/robots.txt")) == 2


def test_a_delay_that_robots_txt_asks_for_is_kept(fakes, ask):
    fakes.serve_robots("pages", "User-agent: *\nCrawl-delay: 0.2\n")
    ask(f"{fakes.url('pages')}/gallery", pages=4)
    visits = fakes.visits("pages", "/gallery*")
    assert len(visits) == 4 and visits[-1].began - visits[0].began > 0.55


def test_a_host_that_cannot_tell_its_rules_now_is_asked_later(fakes, ask):
    url = f"{fakes.url('pages')}/gallery"
    with pytest.raises(BrokenOff):
        ask(url, break_after=3)
    fakes.serve_robots("pages", "", status=503)
    with pytest.raises(StageError, match="robots_unreachable"):
        ask(url)
    fakes.serve_robots("pages")
    assert len(ask(url)) == 60


def test_pages_that_ask_not_to_be_used_give_nothing(fakes, ask, site):
    assert ask(f"{fakes.url('pages')}/noai") == []
    assert len(ask(f"{fakes.url('pages')}/noai", folder="rude", robots=False)) == 1
    page = '<img src="1.jpg"><a rel="next" href="/2">2</a>'
    base = site({"/1": page, "/2": page}, headers={"X-Robots-Tag": "foxgan: noai"})
    assert ask(f"{base}/1", folder="headers") == [] and site.asked() == ["/1", "/2"]


def test_nofollow_is_kept(ask, site):
    base = site({"/": '<meta name=robots content="nofollow"><img src=1.jpg><a rel=next href=/2>2</a>', "/2": ""})
    assert len(ask(f"{base}/")) == 1 and site.asked() == ["/"]


def test_the_site_is_not_left_neither_by_links_nor_by_redirects(fakes, ask, site):
    away = site({"/": "<img src=away.jpg>"})
    base = fakes.url("pages")
    fakes.rule("pages/gallery[?]page=3", "redirect", to=f"{away}/")
    assert [record["image_url"] for record in ask(f"{base}/gallery")] == whole(fakes)[:12]
    near = site({"/near": f"<img src={base}/1.jpg><a rel=next href={base}/gallery>2</a>"})
    assert [record["image_url"] for record in ask(f"{near}/near", folder="near")] == [f"{base}/1.jpg"]
    assert site.asked() == ["/near"]


def test_the_first_page_may_have_moved(fakes, ask, site):
    fakes.rule("pages/start", "redirect", to="/gallery?page=9")
    found = ask(f"{fakes.url('pages')}/start")
    assert [record["image_url"] for record in found] == whole(fakes)[48:]


def test_several_licenses_say_nothing(ask, site):
    both = "".join(
        f'<a rel=license href="https://creativecommons.org/licenses/{terms}/4.0/">x</a>' for terms in ("by", "by-nc")
    )
    [record] = ask(site({"/": f"<img src=1.jpg>{both}"}) + "/")
    assert (record["license"], record["license_url"]) == ("unknown", None)


@pytest.mark.parametrize("charset", ["windows-1252", "utf-8", "zlib", "punycode", "no such", "base64", "idna"])
def test_pages_in_any_encoding_are_read(ask, site, charset):
    text = f"<meta charset='{charset}'><img src='Füchse.jpg'>"
    body = text.encode("windows-1252" if charset == "windows-1252" else "utf-8")
    base = site({"/": body}, content_type="text/html")
    [record] = ask(f"{base}/")
    assert record["image_url"] == f"{base}/Füchse.jpg"


def test_what_is_no_page_is_told(ask, site):
    base = site({"/": "GIF89a"}, content_type="image/gif")
    with pytest.raises(StageError, match="not_html"):
        ask(f"{base}/")
    with pytest.raises(UsageError, match="begins with https://"):
        ask("file:///etc/passwd")
    with pytest.raises(StageError, match="http_404|http_500"):
        ask(f"{base}/none", folder="none", retries=0)


def test_pages_that_have_not_changed_are_not_sent_again(fakes, ask):
    first = f"{fakes.url('pages')}/gallery"
    found = ask(first)
    fakes.reset()
    assert ask(first, again=True) == found
    visits = fakes.visits("pages", "/gallery*")
    assert len(visits) == 10 and visits.statuses == {304: 10} and not visits.total_bytes
    fakes.rule("pages/gallery*", "no_validators")
    assert ask(first, again=True) == found == ask(first, again=True)
    assert fakes.visits("pages", "/gallery*").statuses == {304: 10, 200: 20}


@pytest.mark.parametrize("tells", ["ETag", "Last-Modified"])
def test_pages_that_have_changed_are_read_anew(ask, httpserver, site, tells):
    shown = [1]
    now = count(10)

    def listing(request):
        state = f'"{len(shown)}"' if tells == "ETag" else f"Mon, 01 Jun 2026 00:00:{len(shown):02} GMT"
        asked = request.headers.get("If-None-Match" if tells == "ETag" else "If-Modified-Since")
        headers = {tells: state, "Date": f"Mon, 01 Jun 2026 00:01:{next(now)} GMT"}
        if asked == state:
            return Response(status=304, headers=headers)
        pictures = "".join(f'<img src="{number}.jpg">' for number in shown)
        return Response(f'{pictures}<link rel=next href="/2">', headers=headers, content_type="text/html")

    base = site({"/2": '<img src="last.jpg">'})
    httpserver.expect_request("/1").respond_with_handler(listing)
    names = [[r["image_url"].removeprefix(f"{base}/") for r in ask(f"{base}/1", again=again)] for again in (0, 1)]
    shown.append(2)
    names += [[r["image_url"].removeprefix(f"{base}/") for r in ask(f"{base}/1", again=True)]]
    assert names == [["1.jpg", "last.jpg"]] * 2 + [["1.jpg", "last.jpg", "2.jpg"]]
    statuses = [response.status_code for request, response in httpserver.log if request.path == "/1"]
    assert statuses == [200, 304, 200]


def test_not_changed_counts_only_for_the_page_that_was_read(ask, httpserver, site):
    base = site({"/old": '<img src="old.jpg">'}, headers={"ETag": '"x"'})
    targets = iter(["/old", "/new", "/new"])

    def new(request):
        if request.headers.get("If-None-Match") == '"x"':
            return Response(status=304)
        return Response('<img src="new.jpg">', content_type="text/html")

    httpserver.expect_request("/1").respond_with_handler(
        lambda _: Response(status=302, headers={"Location": next(targets)})
    )
    httpserver.expect_request("/new").respond_with_handler(new)
    ask(f"{base}/1")
    found = ask(f"{base}/1", again=True)
    assert [record["image_url"] for record in found] == [f"{base}/old.jpg", f"{base}/new.jpg"]
    assert site.asked() == ["/1", "/old", "/1", "/new", "/1", "/new"]


def test_a_page_that_claims_not_to_have_changed_before_it_was_read_is_no_page(ask, site):
    base = site({"/1": ""}, status=304)
    with pytest.raises(StageError, match="http_304"):
        ask(f"{base}/1", retries=0)
