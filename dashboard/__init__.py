"""The dashboard: one file a page, on the queries of `foreshock.monitor.store`. `serve` starts it."""
