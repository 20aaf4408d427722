"""What is said of sources: which param is for which of them, what their `path` is, and what helps against each reason for a drop."""

from typing import Literal

from foxgan.sources.video_params import VideoParams

Kind = Literal[
    "folder",
    "archive",
    "idx",
    "urls",
    "video",
    "synthetic",
    "inaturalist",
    "commons",
    "openverse",
    "gbif",
    "flickr",
    "page",
]
WEB = ("inaturalist", "commons", "openverse", "gbif", "flickr")  # services that know photos of a taxon; see services.py
ASKED = (*WEB, "page")  # where a crawl comes first
FETCHED = ("urls", *ASKED)
ONLY_FOR = {  # params that mean something to some sources only
    **dict.fromkeys(VideoParams.model_fields, ("video",)),
    "path": ("folder", "archive", "idx", "urls", "video"),
    "labels": ("folder", "archive"),
    "labels_path": ("idx",),
    "species": ("synthetic",),
    "seed": ("synthetic",),
    "photo_size": ("synthetic",),
    "transparent": ("synthetic",),
    "taxon": WEB,
    "licenses": FETCHED,
    "variant": ("inaturalist", "commons"),
    "quality_grade": ("inaturalist",),
    "basis_of_record": ("gbif",),
    "mature": ("openverse",),
    "url": ("page",),
    "pages": ("page",),
    "truncated": ("folder", "archive", *FETCHED),
    "license": ("folder", "archive", "idx", "urls", "video", "synthetic", "page"),
    "creator": ("folder", "archive", "idx", "urls", "video", "synthetic", "page"),
    **dict.fromkeys(("contact", "robots", "timeout", "retries", "rate", "connections"), FETCHED),
}
PATHS = {
    "folder": "a folder of photos",
    "archive": "a zip or tar file",
    "idx": "IDX images such as train-images-idx3-ubyte.gz, or a folder of them",
    "urls": "a .txt, .csv, .jsonl or .parquet list of addresses",
    "video": "a film, or a folder of films",
}
ADVICE = {
    "too_small": "lower `min_size`",
    "too_large": "raise `max_file_mb` or `max_pixels`",
    "not_an_image": "check `path`: these files are no pictures",
    "not_a_film": "check `path`: these files are no films that can be read",
    "broken": "fetch these files again; `truncated: keep` keeps what is there of JPEGs that break off",
    "encrypted": "unpack the archive with its password and scrape the folder",
    "timeout": "raise `timeout`, or try again later",
    "private_address": "these hosts are in a private network; FOXGAN_ALLOW_PRIVATE=1 lets foxgan fetch from there",
    "robots": "the hosts' robots.txt keeps robots out: ask whose photos they are",
    "robots_unreachable": "the hosts' robots.txt cannot be read now: try again later",
    "noai": "the hosts do not want their photos to be learned from",
    "license": "`licenses` does not allow theirs, or nobody told it: allow more, or set `license` if you know it",
    "contact": "set `contact`, or FOXGAN_CONTACT in the environment, to your e-mail address or page",
    "http_403": "they keep programs or this network out: set `contact`, or try from another network",
    "http_429": "they were asked too often: try again later, and more slowly (`rate`)",
    "connection": "check the network and the addresses",
    "certificate": "the hosts' certificates do not hold: check the clock and the certificates of this machine",
    "insecure_redirect": "the hosts lead from https to http, where anybody could send something else: use other addresses",
}
