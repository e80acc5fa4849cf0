"""The dashboard: one file per page, on the queries of `foreshock.monitor.store`. `serve` starts it."""
