// Package agent is the side of the tunnel that is near the backends. It connects to the
// edges, takes their requests, and passes them on: to backends over HTTP, or to
// listeners in the same process. It knows nothing of Caddy.
package agent
