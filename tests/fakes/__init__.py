"""Faithful fakes of photo services on loopback, for spiders' tests and for trying pipelines without the internet.

They are written from the documentation and code of the services (formats, limits and traps of iNaturalist, Openverse, Commons, GBIF and
Flickr); whatever is wrong with the world is wrong here too, on demand. `python -m tests.fakes --help` starts them by hand.
"""

from tests.fakes.flickr import KEY as FLICKR_KEY
from tests.fakes.server import Fakes
from tests.fakes.state import HOSTS, IMAGE_HOSTS, SERVICES

__all__ = ["FLICKR_KEY", "HOSTS", "IMAGE_HOSTS", "SERVICES", "Fakes"]
