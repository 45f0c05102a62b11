"""PM2 for the tests that need it: `make test` installs it, see deploy/pm2/install.sh."""

from __future__ import annotations

import pytest

from deploy.pm2.pm2 import find_pm2

needs_pm2 = pytest.mark.skipif(find_pm2() is None, reason="PM2 is not installed, and could not be")
