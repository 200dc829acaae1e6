package adaptive

const (
	leastUploads     = 100 // places for uploads that there are by default
	clientUploads    = 4   // uploads that any client may have
	uploadsOfClients = 4   // one of several clients may have this part of the limit
)

// places returns how many uploads or streams there may be.
func (l *Limiter) places(kind holding) int {
	switch {
	case kind == holdsStream:
		return l.cfg.Streams
	case l.cfg.Uploads == 0:
		return max(int(l.limit), leastUploads)
	default:
		return l.cfg.Uploads
	}
}

// stages reports whether the client has as many uploads as it may bring back to
// slots at once: the limit shared by the clients, and a quarter of it at least.
func (l *Limiter) stages(key uint64) bool {
	if l.cfg.NoFairShare {
		return false
	}
	client := l.clients.find(key, l.now)
	part := l.limit / min(max(l.active.estimate, 1), uploadsOfClients)
	return client != nil && int(client.held[holdsUpload]) >= max(int(part), clientUploads)
}

// full reports whether the client finds no place among the uploads or streams.
func (l *Limiter) full(kind holding, key uint64) bool {
	return l.held[kind] >= l.places(kind) || l.hogs(kind, key)
}

// hogs reports whether the client holds more than its share of the uploads or
// streams, which it may as long as half of the places are free. The share is by
// those who hold any, and all of the places when shares are off.
func (l *Limiter) hogs(kind holding, key uint64) bool {
	share := float64(l.places(kind))
	half := share / 2
	x := min((float64(l.held[kind])-half)/half, 1)
	if x <= 0 {
		return false
	}
	client := l.clients.find(key, l.now)
	if client == nil {
		return false
	}
	if !l.cfg.NoFairShare {
		share = max(share/float64(max(l.clients.holders[kind], 1)), 1)
	}
	return float64(client.held[kind])*x*x > share
}
