"""Step `pull`: `python -m tasks.pull weights` and `python -m tasks.pull data`."""

from __future__ import annotations

import argparse
import sys

from tasks.config import ConfigError, load_params


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tasks.pull", description=__doc__)
    parser.add_argument("what", choices=["weights", "data"])
    what = parser.parse_args(arguments).what
    try:
        params = load_params().pull
        if what == "weights":
            from tasks.classifier.weights import pull_weights

            pull_weights(params.backbone)
        else:
            from tasks.data.pull import pull_data

            print(pull_data(params))
    except (ConfigError, ValueError, OSError) as error:
        print(f"pull {what}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
