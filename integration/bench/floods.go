package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	floodClients = 10_000_000
	floodShort   = 1_000_000
	floodWarm    = 300_000 // more than the table has slots
	floodAbusers = 1000
	floodRate    = 1 // requests per second
	floodBurst   = 10
	// floodMix is that one of so many requests comes from an abuser.
	floodMix = 4
	// floodLength is when the flood ends at the latest.
	floodLength = 10 * time.Minute

	mostSlotBytes    = 20
	mostFloodGrowth  = 0.05
	mostFreshRefused = 0.001
)

// flood counts what the clients of a flood were answered.
type flood struct {
	passed                     [floodAbusers]atomic.Int64
	pushed                     atomic.Int64 // requests of abusers
	fresh, refused, unexpected atomic.Int64
}

// runFlood has distinct clients send one request each, while abusers send many.
func runFlood(ctx context.Context, b *bench) error {
	s, err := b.startSites(ctx, siteOptions{name: "edge", global: trustLoopback, sites: []string{fmt.Sprintf(
		"\tedge_limit {\n\t\tzone flooded {\n\t\t\trate %d/s\n\t\t\tburst %d\n\t\t}\n\t}\n\trespond 200\n", floodRate, floodBurst)}})
	if err != nil {
		return err
	}
	defer s.close()
	if err := b.addSlots(ctx, s); err != nil {
		return err
	}
	clients := int64(floodClients)
	if b.short {
		clients = floodShort
	}
	var f flood
	start := time.Now()
	if _, err := f.run(ctx, s.addrs[0], 0, floodWarm); err != nil {
		return err
	}
	base, err := s.memory()
	if err != nil {
		return err
	}
	done, err := f.run(ctx, s.addrs[0], floodWarm*floodMix/(floodMix-1), clients)
	if err != nil {
		return err
	}
	use, err := s.memory()
	if err != nil {
		return err
	}
	if n := f.unexpected.Load(); n > 0 {
		return fmt.Errorf("%d responses were neither 200 nor 429", n)
	}
	b.table.addGrowth(base.resident, use.resident, fmt.Sprintf("%d clients, %d requests in %s; %s after %d clients, now %s, peak %s",
		f.fresh.Load(), done.requests, seconds(done.time), mebibytes(base.resident), floodWarm, mebibytes(use.resident), mebibytes(use.peak)))
	b.table.addFlood(&f, time.Since(start))
	return nil
}

// addGrowth judges the memory, in bytes, before and after a flood.
func (t *table) addGrowth(before, after int64, beside string) {
	growth := float64(after-before) / float64(before)
	t.add(finding{
		what: "RSS growth", measured: fmt.Sprintf("%+.1f %%", growth*100),
		target: fmt.Sprintf("<= %.0f %%", mostFloodGrowth*100), reached: growth <= mostFloodGrowth, beside: beside,
	})
}

// addSlots tells what the zone takes for each client.
func (b *bench) addSlots(ctx context.Context, s *sites) error {
	out, err := s.admin.call(ctx, "/edge/limit/zones", nil)
	if err != nil {
		return err
	}
	var reply struct {
		Zones []struct {
			Slots, Bytes int
		} `json:"zones"`
	}
	if err := json.Unmarshal(out, &reply); err != nil {
		return err
	}
	if len(reply.Zones) != 1 || reply.Zones[0].Slots == 0 {
		return fmt.Errorf("the zone is missing in %s", out)
	}
	z := reply.Zones[0]
	each := float64(z.Bytes) / float64(z.Slots)
	b.table.add(finding{
		what: "memory per slot", measured: fmt.Sprintf("%.1f B", each),
		target: fmt.Sprintf("<= %d B", mostSlotBytes), reached: each <= mostSlotBytes,
		beside: fmt.Sprintf("%d slots, %s, taken at the start", z.Slots, mebibytes(int64(z.Bytes))),
	})
	return nil
}

// run sends the requests from number first on until that many fresh clients had
// their turn, or time is up.
func (f *flood) run(ctx context.Context, addr string, first, fresh int64) (loadResult, error) {
	l := load{
		addr: addr, clients: 64, requests: fresh * floodMix / (floodMix - 1), length: floodLength, limit: floodLength + time.Minute,
		make: func(i int64, r *request) {
			r.path = "/"
			r.fields = forwardedFor(floodAddr(first + i))
		},
		check: func(i int64, head *responseHead) error { f.count(first+i, head.status); return nil },
	}
	return l.run(ctx)
}

// count counts the response to a request.
func (f *flood) count(i int64, status int) {
	if status != http.StatusOK && status != http.StatusTooManyRequests {
		f.unexpected.Add(1)
		return
	}
	if abuser, ok := floodAbuser(i); ok {
		f.pushed.Add(1)
		if status == http.StatusOK {
			f.passed[abuser].Add(1)
		}
		return
	}
	f.fresh.Add(1)
	if status != http.StatusOK {
		f.refused.Add(1)
	}
}

// addFlood judges what passed of a flood that took a time.
func (t *table) addFlood(f *flood, took time.Duration) {
	legal := floodBurst + floodRate*took.Seconds()
	var most, sum int64
	for i := range f.passed {
		n := f.passed[i].Load()
		most, sum = max(most, n), sum+n
	}
	t.add(finding{
		what: "abusers' share", measured: fmt.Sprintf("%.2fx, the greatest %.2fx", float64(sum)/(legal*floodAbusers), float64(most)/legal),
		target: "<= 1.00x of legal", reached: float64(most) <= legal && sum > 0,
		beside: fmt.Sprintf("they sent %.1fx of %d + %d/s", float64(f.pushed.Load())/(legal*floodAbusers), floodBurst, floodRate),
	})
	fresh, refused := f.fresh.Load(), f.refused.Load()
	share := float64(refused) / float64(max(fresh, 1))
	t.add(finding{
		what: "fresh refused", measured: fmt.Sprintf("%.4f %%", share*100),
		target: fmt.Sprintf("<= %.1f %%", mostFreshRefused*100), reached: share <= mostFreshRefused && fresh > 0,
		beside: fmt.Sprintf("%d of %d", refused, fresh),
	})
}

// floodAbuser returns the number of the abuser that sends a request.
func floodAbuser(i int64) (abuser int64, ok bool) {
	return i / floodMix % floodAbusers, i%floodMix == 0
}

// floodAddr returns the address that a request comes from: an abuser's, or one
// that no other request has, IPv4 and IPv6 by turns, in no order.
func floodAddr(i int64) netip.Addr {
	if abuser, ok := floodAbuser(i); ok {
		return netip.AddrFrom4([4]byte{192, 168, byte(abuser >> 8), byte(abuser)})
	}
	n := uint64(i) - uint64(i)/floodMix - 1 // of the fresh client
	// An odd factor permutes the numbers of any number of bits.
	const scatter = 2_654_435_761
	if n%2 == 0 {
		host := uint32(n / 2 * scatter & (1<<24 - 1))
		return netip.AddrFrom4([4]byte{10, byte(host >> 16), byte(host >> 8), byte(host)})
	}
	var a [16]byte
	binary.BigEndian.PutUint64(a[:], 0x2001_0db8_0000_0000|n/2*scatter&(1<<32-1)) // a /64 each
	a[15] = 1
	return netip.AddrFrom16(a)
}

// forwardedFor returns the field line that tells a client's address.
func forwardedFor(a netip.Addr) string { return "X-Forwarded-For: " + a.String() + "\r\n" }
