from __future__ import annotations

pytest_plugins = ["services.postgres_fixtures"]
