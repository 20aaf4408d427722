"""What services tell of each other's photos."""

import pytest

from foxgan.sources.shared import shared_group, shared_id


@pytest.mark.parametrize(
    ("url", "about", "known"),
    [
        ("https://inaturalist-open-data.s3.amazonaws.com/photos/33/original.jpg", (), "inaturalist:33"),
        ("https://static.inaturalist.org/photos/33/large.jpeg?159", (), "inaturalist:33"),
        ("http://127.0.0.1/photos/33/original.JPG", ("https://www.inaturalist.org/photos/33",), "inaturalist:33"),
        ("https://museum.example.org/photos/33/original.jpg", (None, "A museum"), None),
        ("https://static.inaturalist.org/assets/media-hidden-square.png", (), None),
    ],
)
def test_photos_of_inaturalist_are_told_by_their_addresses(url, about, known):
    assert shared_id(url, *about) == known


@pytest.mark.parametrize(
    ("page", "group"),
    [
        ("https://www.inaturalist.org/observations/190", "inaturalist:190"),
        ("http://mexico.inaturalist.org/observations/190/", "inaturalist:190"),
        ("https://evil-inaturalist.org/observations/190", None),
        ("https://www.inaturalist.org/photos/190", None),
        ("https://www.flickr.com/photos/12345678@N00/490", "flickr:490"),
        ("http://flickr.com/photos/ana/490/in/album-7/?x=1", "flickr:490"),
        ("https://www.flickr.com/photos/ana/", None),
        ("https://commons.wikimedia.org/w/index.php?curid=81", "commons:81"),
        ("https://commons.wikimedia.org/?curid=81", "commons:81"),
        ("https://commons.wikimedia.org/wiki/File:Fox.jpg", None),
        (None, None),
    ],
)
def test_pages_tell_the_group_that_their_own_service_knows(page, group):
    assert shared_group(page) == group
