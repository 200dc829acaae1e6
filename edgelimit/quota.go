package edgelimit

import (
	"net/http"
	"strconv"
	"time"
)

// The fields of draft-ietf-httpapi-ratelimit-headers, in the form of Go's maps.
const (
	fieldPolicy = "Ratelimit-Policy"
	fieldLimit  = "Ratelimit"
)

// quota is a limit as the RateLimit fields tell it: items of structured fields
// (RFC 9651) with the zone's name, which needs no escaping.
type quota struct {
	policy string // the member of RateLimit-Policy
	name   string // the zone's name, quoted
	waits  [commonWaits + 1]string
}

// newQuota describes a limit: so many requests in so long a time. A zone that
// only limits concurrency has no time.
func newQuota(zone string, limit int, per time.Duration) *quota {
	q := &quota{name: strconv.Quote(zone)}
	q.policy = q.name + ";q=" + strconv.Itoa(limit)
	if per > 0 {
		q.policy += ";w=" + strconv.FormatInt(seconds(per), 10)
	}
	for i := range q.waits {
		q.waits[i] = q.rest(0, int64(i))
	}
	return q
}

// rest is the member of RateLimit: how many requests are left, and in how many
// seconds the whole quota is there again, or after a refusal the next request.
func (q *quota) rest(left int, reset int64) string {
	return q.name + ";r=" + strconv.Itoa(left) + ";t=" + strconv.FormatInt(reset, 10)
}

func (q *quota) refused(retry int64) string {
	if retry < int64(len(q.waits)) {
		return q.waits[retry]
	}
	return q.rest(0, retry)
}

// tell adds the fields of an allowed request: one member for each zone.
func (l *Limit) tell(hd http.Header, claims []claim) {
	var policy, left string
	for i := range claims {
		c := &claims[i]
		if c.level.limit == nil || c.level.outer {
			continue
		}
		policy = member(policy, c.level.quota.policy)
		if c.left.Remaining != unknownRest {
			left = member(left, c.level.quota.rest(c.left.Remaining, roundUp(c.left.Reset)))
		}
	}
	if policy != "" {
		hd[fieldPolicy] = append(hd[fieldPolicy], policy) // another handler may have told of its own
	}
	if left != "" {
		hd[fieldLimit] = append(hd[fieldLimit], left)
	}
}

// unknownRest stands for what a client may still do at all nodes of a cluster
// together, which no node knows.
const unknownRest = -1

// member adds a member to a list.
func member(list, s string) string {
	if list == "" {
		return s
	}
	return list + ", " + s
}
