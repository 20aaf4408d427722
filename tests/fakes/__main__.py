"""The fakes by hand: `python -m tests.fakes --port 8900`, then `foxgan run foxes --until photos` in a shell with the printed variables."""

from __future__ import annotations

import argparse
import sys
import time

from tests.fakes import FLICKR_KEY, HOSTS, Fakes

PATHS = {"inaturalist": "/v1", "openverse": "/v1", "commons": "/w", "gbif": "/v1", "flickr": "/services/rest"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes", description=__doc__)
    parser.add_argument("--port", type=int, default=8900, help="of the first host; the others follow (default: 8900)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=int, default=200, help="in the whole world (default: 200)")
    parser.add_argument("--side", type=int, default=1024, help="longest side of most photos (default: 1024)")
    parser.add_argument(
        "--shapes", action="store_true", help="draw coloured shapes, which is quicker, in place of foxes"
    )
    parser.add_argument("--throttle", action="store_true", help="enforce the services' rate limits")
    options = parser.parse_args()
    with Fakes(options.seed, options.photos, options.side, options.port, not options.shapes) as fakes:
        fakes.set(throttle=options.throttle)
        for host in HOSTS:
            sys.stdout.write(f"{host:12} {fakes.url(host)}\n")
        sys.stdout.write("\nexport FOXGAN_ALLOW_PRIVATE=1\n")
        for name, path in PATHS.items():
            sys.stdout.write(f"export FOXGAN_{name.upper()}_URL={fakes.url(name)}{path}\n")
        sys.stdout.write(
            f"export FOXGAN_FLICKR_KEY={FLICKR_KEY}\n\nSee {fakes.url('admin')}/ for faults. Ctrl-C ends.\n"
        )
        sys.stdout.flush()
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
