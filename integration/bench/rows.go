package main

// cacheRows are the measurements of edge_cache.
var cacheRows = []row{
	{"hit-1k", "a hit of 1 KiB: CPU and allocations", runHit1K},
	{"hit-1m", "a hit of 1 MiB: CPU; a slow client gets it whole", runHit1M},
	{"collapse-cold", "500 clients want one cold page that takes 1 s", runCollapseCold},
	{"no-store-cold", "50 clients want a page that may not be shared, first time", runNoStoreCold},
	{"no-store-known", "the same, known to be not shareable", runNoStoreKnown},
	{"vary-5", "50 clients want one page in 5 languages", runVary},
	{"error-500", "50 clients want a page that fails", runError},
	{"swr", "200 clients want a stale page that is refreshed behind them", runStale},
	{"joiner", "a client joins a running download, the first one leaves", runJoiner},
	{"memory", "100,000 objects of 1 KiB: memory and time to fill", runObjects},
	{"unique-urls", "5 million URLs against a budget of 256 MiB", runUnique},
	{"purge", "purges of a million objects, and many of them", runPurge},
}

// limitRows are the measurements of edge_limit and edge_adaptive.
var limitRows = []row{
	{"limit-decision", "one decision: one hot key, a million random keys", runDecision},
	{"limit-request", "a request allowed and one refused: CPU", runLimitedRequest},
	{"limit-memory", "10 million clients while 1,000 abusers push", runFlood},
	{"overload", "twice the load that the origin can bear", runOverload},
	{"cluster", "3 nodes share limits through Redis, which dies and comes back", runCluster},
}

// breakerRows are the measurements of edge_breaker and lb_policy edge.
var breakerRows = []row{
	{"errors-shown", "1 of 3 backends answers only 500: what clients see of it", runErrorsShown},
	{"half-open", "64 clients want a backend that is being probed", runHalfOpen},
	{"slow-start", "the share of a recovering backend in each step", runSlowStart},
	{"weights", "weights of 1, 1 and 2 with the first backend missing", runWeights},
	{"hostile-clients", "clients by the thousand that leave, lie or trickle", runHostile},
	{"overhead", "a whole request: CPU and allocations, also of further attempts", runOverhead},
	{"p2c-tail", "1 of 4 backends takes ten times as long: P99", runTail},
	{"all-open", "a refusal while the proxy would wait for 3 s", runAllOpen},
	{"faults", "backends that fail in all ways, during 30 reloads", runFaults},
}

// wafRows are the measurements of edge_waf.
var wafRows = []row{
	{"waf-engine", "ordinary requests against the rules: time beside stock Coraza", runInspections},
	{"waf-request", "a whole request: CPU beside a site without the firewall", runInspected},
	{"waf-sites", "23 sites with the rule set: memory beside one", runWaffedSites},
	{"waf-uploads", "content of 1 GiB in each framing: whole, and in bounded memory", runUploads},
}

// tunnelRows are the measurements of edge_tunnel.
var tunnelRows = []row{
	{"tunnel-small", "64 connections want 1 KiB: rate, CPU and P99 beside a direct proxy", runTunnelSmall},
	{"tunnel-delay", "the same with an agent that is 40 ms away", runTunnelDelay},
	{"tunnel-bulk", "one download of 100 MiB: speed beside a direct proxy", runTunnelBulk},
	{"tunnel-slow", "200 clients read slowly: P99 of fast requests beside them, memory", runTunnelSlow},
	{"tunnel-kill", "1 of 2 agents dies with 40 GETs and 40 POSTs under way", runTunnelKill},
	{"tunnel-frozen", "1 of 2 agents is stopped; and one that is well behind a full link", runTunnelFrozen},
	{"tunnel-drain", "1 of 2 agents is ended under load of every method", runTunnelDrain},
	{"tunnel-restart", "the edge is restarted: time until its agent is back", runTunnelRestart},
	{"tunnel-reload", "20 reloads of the edge under load: sessions and requests lost", runTunnelReload},
}
