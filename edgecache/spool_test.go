package edgecache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/caddyedge/caddy-edge/edgecache/tier/memory"
)

// drain reads a spool to its end as a client that takes each piece at once.
func drain(ctx context.Context, s *spool, r *spoolReader) ([]byte, error) {
	var got []byte
	for {
		data, _, err := s.next(ctx, r)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return got, err
		}
		got = append(got, data...)
		s.advance(r, len(data), time.Now())
	}
}

func TestSpoolReadersSeeTheWholeBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := memory.NewLedger(16 << 20)
		s := newSpool(ledger, time.Minute)
		s.keep(8<<20, -1)
		body := pattern(3 << 20)
		var done sync.WaitGroup
		read := func() {
			r, ok := s.join(time.Now())
			require.True(t, ok)
			done.Go(func() {
				got, err := drain(t.Context(), s, r)
				require.NoError(t, err)
				require.True(t, bytes.Equal(body, got))
				s.leave(r)
			})
		}
		read()
		for rest := body; len(rest) > 0; {
			n := min(100_000, len(rest))
			require.NoError(t, s.write(t.Context(), rest[:n]))
			rest = rest[n:]
			if len(rest) == len(body)/2 {
				read()
			}
		}
		read()
		s.end(nil)
		read()
		done.Wait()

		chunks, size, reserved := s.take()
		require.Equal(t, int64(len(body)), size)
		require.True(t, bytes.Equal(body, bytes.Join(chunks, nil)))
		require.Equal(t, ledger.Used(), reserved)
		s.discharge()
		require.Equal(t, ledger.Used(), reserved, "what was taken is the taker's to release")
	})
}

func TestSpoolChunkSizes(t *testing.T) {
	tests := []struct {
		name   string
		hint   int64
		writes []int
		want   []int
	}{
		{"announced", 10_000, []int{3000, 3000, 4000}, []int{10_000}},
		{"announced and long", maxChunk + 5, []int{maxChunk, 5}, []int{maxChunk, 5}},
		{"unknown", -1, []int{1, 5000, 1}, []int{firstChunk, 2 * firstChunk}},
		{"unknown, in large pieces", -1, []int{40_000, 1}, []int{40_000, 80_000}},
		{"announced too short", 10, []int{10, 10}, []int{10, 20}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSpool(memory.NewLedger(64<<20), time.Minute)
			s.keep(32<<20, tt.hint)
			for _, n := range tt.writes {
				require.NoError(t, s.write(t.Context(), make([]byte, n)))
			}
			var caps []int
			for _, c := range s.chunks {
				caps = append(caps, cap(c))
			}
			require.Equal(t, tt.want, caps)
		})
	}
}

// TestSpoolWindowHoldsTheProducer: with a body that is not kept the producer
// runs no further ahead of the slowest reader than the window.
func TestSpoolWindowHoldsTheProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := memory.NewLedger(16 << 20)
		s := newSpool(ledger, time.Minute)
		s.keep(0, -1)
		fast, _ := s.join(time.Now())
		slow, _ := s.join(time.Now())
		body := pattern(4 * smallWindow)
		var done sync.WaitGroup
		done.Go(func() {
			for rest := body; len(rest) > 0; rest = rest[16<<10:] {
				require.NoError(t, s.write(t.Context(), rest[:16<<10]))
			}
			s.end(nil)
		})
		var fastGot []byte
		done.Go(func() { fastGot, _ = drain(t.Context(), s, fast) })

		var slowGot []byte
		for {
			synctest.Wait()
			require.LessOrEqual(t, s.size-slow.pos, int64(smallWindow+32<<10))
			if !s.ended {
				require.GreaterOrEqual(t, s.size-slow.pos, int64(smallWindow-32<<10), "the producer uses the window")
			}
			data, _, err := s.next(t.Context(), slow)
			if err != nil {
				require.ErrorIs(t, err, io.EOF)
				break
			}
			slowGot = append(slowGot, data...)
			s.advance(slow, len(data), time.Now())
		}
		done.Wait()
		require.True(t, bytes.Equal(body, slowGot))
		require.True(t, bytes.Equal(body, fastGot))
		_, ok := s.join(time.Now())
		require.False(t, ok, "the beginning is gone")
		s.discharge()
		require.Zero(t, ledger.Used())
	})
}

func TestSpoolDropsAStalledReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpool(memory.NewLedger(1<<20), 30*time.Second)
		s.keep(0, -1)
		well, _ := s.join(time.Now())
		stalled, _ := s.join(time.Now())
		body := pattern(2 * smallWindow)
		var done sync.WaitGroup
		done.Go(func() {
			got, err := drain(t.Context(), s, well)
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, got))
		})
		start := time.Now()
		require.NoError(t, s.write(t.Context(), body[:smallWindow]))
		require.Zero(t, time.Since(start))
		require.NoError(t, s.write(t.Context(), body[smallWindow:]))
		require.Equal(t, 30*time.Second, time.Since(start))
		s.end(nil)
		done.Wait()
		_, _, err := s.next(t.Context(), stalled)
		require.ErrorIs(t, err, errStalled)
	})
}

func TestSpoolWriteEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpool(memory.NewLedger(0), time.Hour)
		s.keep(0, -1)
		r, _ := s.join(time.Now())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.write(ctx, pattern(3*smallWindow)), context.DeadlineExceeded)
		_, _, err := s.next(ctx, r)
		require.NoError(t, err, "what is there can still be read")
		s.advance(r, int(s.size), time.Now())
		_, _, err = s.next(ctx, r)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// TestSpoolLosesItsWhole: a body that outgrows its limit, or the budget, goes on
// as a window, and says so once.
func TestSpoolLosesItsWhole(t *testing.T) {
	tests := []struct {
		name          string
		budget, limit int64
		hint          int64
		window        int64
	}{
		{"limit", 16 << 20, 1 << 20, -1, bigWindow},
		{"limit, without room for a large window", 2 << 20, 1 << 20, -1, smallWindow},
		{"budget", 600 << 10, 32 << 20, -1, smallWindow},
		{"budget, announced length", 2<<20 + 1, 32 << 20, 8 << 20, smallWindow},
		{"no budget at all", 0, 32 << 20, -1, smallWindow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ledger := memory.NewLedger(tt.budget)
				s := newSpool(ledger, time.Minute)
				s.keep(tt.limit, tt.hint)
				lost := 0
				s.onLost = func() { lost++ }
				r, _ := s.join(time.Now())
				body := pattern(8 << 20)
				var done sync.WaitGroup
				done.Go(func() {
					got, err := drain(t.Context(), s, r)
					require.NoError(t, err)
					require.True(t, bytes.Equal(body, got))
					s.leave(r)
				})
				start := time.Now()
				for rest := body; len(rest) > 0; rest = rest[32<<10:] {
					require.NoError(t, s.write(t.Context(), rest[:32<<10]))
					synctest.Wait()
				}
				require.Zero(t, time.Since(start), "the reader took everything at once")
				s.end(nil)
				done.Wait()
				require.Equal(t, 1, lost)
				require.False(t, s.whole())
				require.Equal(t, tt.window, s.window)
				s.discharge()
				require.Zero(t, ledger.Used())
			})
		})
	}
}

// TestSpoolReadBehindTheWindow: a place that the window has left is an error for
// its reader, not a wrong byte and no panic.
func TestSpoolReadBehindTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpool(memory.NewLedger(0), time.Minute)
		s.keep(0, -1)
		r, _ := s.join(time.Now())
		var done sync.WaitGroup
		done.Go(func() { _ = s.write(t.Context(), pattern(4*smallWindow)) })
		s.skip(r, 3*smallWindow)
		_, _, err := s.next(t.Context(), r)
		require.NoError(t, err)
		s.advance(r, 10, time.Now())
		s.skip(r, 0)
		_, _, err = s.next(t.Context(), r)
		require.Error(t, err)
		s.leave(r)
		done.Wait()
	})
}

func TestSpoolCopyToFlushesWhenCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpool(memory.NewLedger(1<<20), time.Minute)
		s.keep(1<<20, 10)
		r, _ := s.join(time.Now())
		rec := httptest.NewRecorder()
		var done sync.WaitGroup
		done.Go(func() {
			require.NoError(t, s.copyTo(t.Context(), rec, r, -1, nil))
		})
		require.NoError(t, s.write(t.Context(), []byte("first")))
		synctest.Wait()
		require.True(t, rec.Flushed)
		rec.Flushed = false
		s.mu.Lock()
		s.appendLocked([]byte("later"))
		s.ended = true
		s.broadcastLocked()
		s.mu.Unlock()
		done.Wait()
		require.Equal(t, "firstlater", rec.Body.String())
		require.False(t, rec.Flushed, "the end needs no flush of its own")
	})
}

// slowWriter takes so many bytes a second.
type slowWriter struct {
	*httptest.ResponseRecorder
	rate int
}

func (w slowWriter) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(len(p)) * time.Second / time.Duration(w.rate))
	return w.ResponseRecorder.Write(p)
}

// TestSpoolSlowClientIsNotStalled: who takes a little all the time is slow, not
// stalled, however large the origin's pieces are.
func TestSpoolSlowClientIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpool(memory.NewLedger(0), time.Minute)
		s.keep(0, -1)
		r, _ := s.join(time.Now())
		body := pattern(4 * smallWindow)
		var done sync.WaitGroup
		w := slowWriter{httptest.NewRecorder(), 2 << 10}
		done.Go(func() { require.NoError(t, s.copyTo(t.Context(), w, r, -1, nil)) })
		require.NoError(t, s.write(t.Context(), body))
		s.end(nil)
		done.Wait()
		require.True(t, bytes.Equal(body, w.Body.Bytes()))
	})
}

// clientPlan is what one reader of the property test does.
type clientPlan struct {
	joins  time.Duration
	pause  time.Duration // before it takes each piece
	leaves int           // after so many bytes; -1 never
}

// TestSpoolProperty: whatever writers, readers and budget do, in any order, every
// reader sees a prefix of the body, one that reached the end saw all of it, and
// nothing stays charged.
func TestSpoolProperty(t *testing.T) {
	const stall = 10 * time.Second
	checkInBubble(t, func(rt *rapid.T) {
		body := pattern(rapid.SampledFrom([]int{0, 1, 5000, 300_000, 900_000, 5 << 20}).Draw(rt, "size"))
		ledger := memory.NewLedger(rapid.SampledFrom([]int64{0, 5000, 300_000, 1 << 20, 64 << 20}).Draw(rt, "budget"))
		s := newSpool(ledger, stall)
		hint := int64(-1)
		if rapid.Bool().Draw(rt, "announced") {
			hint = int64(len(body))
		}
		s.keep(rapid.SampledFrom([]int64{0, 4000, 600_000, 64 << 20}).Draw(rt, "limit"), hint)
		lost := 0
		s.onLost = func() { lost++ }
		piece := rapid.IntRange(1, 200_000).Draw(rt, "piece") + len(body)/100
		pace := rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second}).Draw(rt, "pace")
		broken := rapid.SampledFrom([]error{nil, nil, errTruncated}).Draw(rt, "end")
		plans := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) clientPlan {
			return clientPlan{
				joins:  rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 5 * time.Second}).Draw(rt, "joins"),
				pause:  rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, 2 * stall}).Draw(rt, "pause"),
				leaves: rapid.SampledFrom([]int{-1, -1, 0, 1000, 400_000}).Draw(rt, "leaves"),
			}
		}), 0, 5).Draw(rt, "clients")

		ctx := context.Background()
		type outcome struct {
			joined bool
			got    []byte
			err    error
		}
		outcomes := make([]outcome, len(plans))
		var done sync.WaitGroup
		var writeErr error
		done.Go(func() {
			for rest := body; len(rest) > 0 && writeErr == nil; {
				n := min(piece, len(rest))
				writeErr = s.write(ctx, rest[:n])
				rest = rest[n:]
				time.Sleep(pace)
			}
			s.end(broken)
		})
		for i, p := range plans {
			done.Go(func() {
				time.Sleep(p.joins)
				r, ok := s.join(time.Now())
				if !ok {
					return
				}
				defer s.leave(r)
				o := &outcomes[i]
				o.joined = true
				for p.leaves < 0 || len(o.got) < p.leaves {
					data, _, err := s.next(ctx, r)
					if err != nil {
						o.err = err
						return
					}
					time.Sleep(p.pause)
					o.got = append(o.got, data...)
					s.advance(r, len(data), time.Now())
				}
			})
		}
		done.Wait()

		if writeErr != nil {
			rt.Fatalf("write: %v", writeErr)
		}
		if lost > 1 {
			rt.Fatalf("told %d times that the whole is lost", lost)
		}
		for i, o := range outcomes {
			if !bytes.HasPrefix(body, o.got) {
				rt.Fatalf("reader %d has bytes that are not a prefix of the body", i)
			}
			switch {
			case !o.joined && s.whole():
				rt.Fatalf("reader %d was refused although the body is whole", i)
			case errors.Is(o.err, errStalled) && plans[i].pause < stall:
				rt.Fatalf("reader %d was dropped although it never took more than %v", i, plans[i].pause)
			case errors.Is(o.err, errStalled):
			case o.err == nil: // it left
			case broken == nil && (!errors.Is(o.err, io.EOF) || len(o.got) != len(body)):
				rt.Fatalf("reader %d ended with %v after %d of %d bytes", i, o.err, len(o.got), len(body))
			case broken != nil && !errors.Is(o.err, broken):
				rt.Fatalf("reader %d of a truncated body ended with %v", i, o.err)
			}
		}
		if whole := s.whole(); whole && rapid.Bool().Draw(rt, "stored") {
			chunks, size, reserved := s.take()
			if size != int64(len(body)) || !bytes.Equal(bytes.Join(chunks, nil), body) {
				rt.Fatalf("took %d bytes that are not the body", size)
			}
			ledger.Release(reserved)
		}
		s.discharge()
		if used := ledger.Used(); used != 0 {
			rt.Fatalf("%d bytes stay charged", used)
		}
	})
}
