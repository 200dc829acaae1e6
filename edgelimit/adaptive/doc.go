// Package adaptive keeps an origin working at its full capacity while more
// requests come than it can serve, and shares that capacity fairly.
//
// # The law
//
// A [Limiter] bounds the requests in flight towards the origin. Concurrency is
// bounded and not a rate, because a bound on concurrency holds at once when the
// origin slows down, whereas a rate has to be corrected first, and the queue
// that grew meanwhile stays.
//
// The bound, called the limit, moves with the P95 of the origin's latency. A
// window lasts at least 200 ms and 20 samples. At its end, with p = P95/target,
//
//   - p above 1: limit *= clamp(1/p, 0.5, 0.95)
//   - otherwise, if the limit was used (half of it was in flight at some
//     moment, or somebody was refused): limit += (1-p) * max(sqrt(limit),
//     limit/4), and at least 1
//   - otherwise nothing changes.
//
// After a change the limiter waits for one P95 (at most 5 s) before the next
// window begins, so that one queue is not answered twice. The step upwards
// shrinks with the headroom: the limit comes up fast and then settles.
//
// The P95 counts for at most four times the median. Where requests queue, all of
// them do, and the median is near the P95. Where a tenth of the requests is slow
// by nature, no limit makes them faster, and following the plain P95 would drive
// the limit to its minimum and refuse everybody while the origin idles; one
// client that asks for nothing but the slowest page could bring that about. The
// price: if one in many pools of the origin is overloaded, and it serves less
// than half of the requests, then only its timeouts, when they are more than 5 %
// of the samples, lower the limit. Give such a part of a site a limiter of its
// own.
//
// # Fair share
//
// Up to half of the limit anything goes. Above it a client is refused when
//
//	usage > c / x^2,    x = (in flight - limit/2) / (limit/2)
//
// where usage is the average number of slots that the client held, with a
// half-life of 5 s, and c is the water level of the usages: that at which the sum
// of min(usage, c) over all clients is half of the limit. The threshold falls from
// infinity at half of the limit to c at the full one. The number in flight thus
// settles where the greedy get exactly what the others leave, which is max-min
// fairness without knowing anyone's demand, and the honest find room. As the limit
// grows whenever more than half of it is used and the latency allows it, a load
// below the capacity never meets the fair share.
//
// Clients weigh by what they use and not by their number: a crowd of which each
// comes once, or an attacker with many addresses, lowers c by no more than the
// slots that it holds. Even so it may fill the limit, and then c gets lower the
// more of those who come again are refused. Therefore a client that uses half a
// slot (a fortieth of the limit, if that is less), or no more than one median
// request, is never refused by the share. The price: many clients that are greedy
// together, but each below that, are a crowd to the limiter, and share the limit
// in proportion to what they ask for.
//
// The share is looked at before there is a place in the queue, and again before
// one who waited gets a slot; one client may fill a quarter of the queue.
//
// # What holds a slot
//
// Only work of the origin counts. A request whose body is still on its way after
// 500 ms moves to the uploads, and returns to a slot when the body has been read
// to its end. One whose response lasts longer than 5 s after its header moves
// to the streams, as does one for which Ticket.Stream is called (WebSocket,
// server-sent events, gRPC). Both moves happen by themselves, at the next call of
// any method, and never fail. Uploads and streams have caps of their own. At a cap
// new requests with a body, and streams that ask before their header is sent, are
// refused. Above half of a cap a client is refused when
//
//	held * x^2 > cap / clients that hold any
//
// with x as above and 1 at least on the right; for the streams this holds for any
// request of the client, since each may come to last. No client thus gets beyond a
// cap by more than what it had in flight.
//
// The limit, shared by the clients and a quarter of it at least (and 4), is also
// how many uploads one client may have before its next one is refused, so that it
// cannot bring back a limit's worth of them again and again. Those in a slot when
// this is looked at come on top.
//
// A request that its client abandoned before the header keeps its slot, and is
// charged to the client, until it has taken the P99 of the last window, at least
// the target and at most 5 s, since the origin works on.
//
// Class High and the returning uploads may put more in flight than the limit: at
// most limit * 1.1 and the number of uploads, which is by default the limit or
// 100 if that is more.
//
// # Samples
//
// The clock of a sample starts when the request body has been read to its end
// and stops at the first response header. An unfinished upload, a transport
// error, an open breaker and a switched protocol give no sample. A timeout is a
// sample of at least twice the target; without that, an origin that hangs for
// most and refuses the rest at once would be taken for a fast one. A client that
// leaves after having waited for longer than the target is a sample too, and if
// more clients leave than requests are answered, none of them at once, the limit
// is halved; one client counts once in a window for that.
//
// [RateLoop] is the well-known loop over a rate, for those who want it. It is
// known to collapse under overload; see the table of TestSimulate.
package adaptive
