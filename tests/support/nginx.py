"""nginx for the tests that need it: `make test` installs it, see deploy/nginx/install.sh."""

from __future__ import annotations

import pytest

from deploy.nginx.front import find_nginx

needs_nginx = pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed, and could not be")
