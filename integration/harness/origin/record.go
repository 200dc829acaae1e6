package origin

import (
	"net/http"
	"time"
)

// Request is what arrived.
type Request struct {
	// Method, URI and Host are as the peer sent them; URI is the request target.
	Method, URI, Host string
	// Path is the URI without its query.
	Path string
	// Header holds the request header, without Host.
	Header http.Header
	// Body is the whole content.
	Body []byte
	// Time is when the request had been read.
	Time time.Time
	// N is the ordinal of the request among those to the same path, from 1.
	N int
}

// Stats counts what happened on one path.
type Stats struct {
	// Arrived counts requests that were read.
	Arrived int
	// Active counts requests whose reply is not finished; Peak is its maximum.
	Active, Peak int
	// Finished counts replies that were written as scripted.
	Finished int
	// Aborted counts replies that were given up because the peer left.
	Aborted int
}

// Stats returns the counts of a path (without query).
func (o *Origin) Stats(path string) Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.statsLocked(path)
}

// Requests returns the requests to a path (without query) in order of arrival,
// or all requests when path is empty.
func (o *Origin) Requests(path string) []*Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []*Request
	for _, r := range o.requests {
		if path == "" || r.Path == path {
			found = append(found, r)
		}
	}
	return found
}

// Forget drops recorded requests and counts, but not the requests in progress.
func (o *Origin) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests = nil
	for path, s := range o.stats {
		o.stats[path] = &Stats{Active: s.Active, Peak: s.Active}
	}
}

func (o *Origin) statsLocked(path string) Stats {
	if s := o.stats[path]; s != nil {
		return *s
	}
	return Stats{}
}

// changeLocked applies f to the counts of a path and wakes those who wait.
func (o *Origin) changeLocked(path string, f func(*Stats)) {
	s := o.stats[path]
	if s == nil {
		s = new(Stats)
		o.stats[path] = s
	}
	f(s)
	close(o.changed)
	o.changed = make(chan struct{})
}

// arrive records a request and sets its ordinal.
func (o *Origin) arrive(r *Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changeLocked(r.Path, func(s *Stats) {
		s.Arrived++
		s.Active++
		s.Peak = max(s.Peak, s.Active)
		r.N = s.Arrived
	})
	o.requests = append(o.requests, r)
}

// leave records the end of a reply.
func (o *Origin) leave(r *Request, aborted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changeLocked(r.Path, func(s *Stats) {
		s.Active--
		if aborted {
			s.Aborted++
		} else {
			s.Finished++
		}
	})
}
