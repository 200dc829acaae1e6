package edgeapp

import (
	"net/netip"
	"slices"
)

// GuardNode is implemented by handlers that refuse requests for their method. It is how
// the app recognises them in the route tree.
type GuardNode interface {
	// EdgePurgers is told which clients may send PURGE to a cache behind the handler,
	// before the config goes live and before the handler's first request, if that comes
	// earlier and asks for it by App.CheckRoutes. It is not called for a handler that
	// the app can't see, since it is inside of one that the app does not know.
	EdgePurgers(clients []netip.Prefix)
}

// guard is one point at which requests go through a GuardNode.
type guard struct {
	node    GuardNode
	within  []condition
	purgers []netip.Prefix
}

func (w *walk) guardNode(node GuardNode, name string, in flows) flows {
	w.checkGate(in, name)
	g := &guard{node: node, within: slices.Clone(w.within)}
	w.guards = append(w.guards, g)
	out := in.clone()
	for _, f := range out {
		f.guards[g] = true
	}
	return out
}

// purgedThrough notes for the guards in front of a cache who may purge it. The cache
// looks again, so a guard may be told of one client too many.
func (w *walk) purgedThrough(in flows, c *cache) {
	for _, g := range w.guards {
		for _, f := range in {
			if f.guards[g] && !exclusive(g.within, w.within) {
				g.purgers = append(g.purgers, c.info.PurgeAllow...)
				break
			}
		}
	}
}

// tellGuards tells each of them, wherever it stands, at once.
func (w *walk) tellGuards() {
	purgers := make(map[GuardNode][]netip.Prefix)
	var nodes []GuardNode
	for _, g := range w.guards {
		if _, ok := purgers[g.node]; !ok {
			nodes = append(nodes, g.node)
		}
		purgers[g.node] = append(purgers[g.node], g.purgers...)
	}
	for _, node := range nodes {
		clients := purgers[node]
		slices.SortFunc(clients, netip.Prefix.Compare)
		node.EdgePurgers(slices.Compact(clients))
	}
}
