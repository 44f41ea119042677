"""python -m airflow_provider_gofundo.sandbox"""

from __future__ import annotations

from .cli import main

raise SystemExit(main())
