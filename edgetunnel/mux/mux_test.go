package mux

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pair connects two sessions by a pipe without buffers, which shows who waits for whom.
// What the second one accepts goes to serve.
func pair(t testing.TB, config Config, serve func(*Stream)) (*Session, *Session) {
	t.Helper()
	a, b := net.Pipe()
	accepting := config
	accepting.Accept = func(st *Stream) { go serve(st) }
	near, far := New(a, nil, config), New(b, nil, accepting)
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	return near, far
}

// echo sends back what it gets.
func echo(st *Stream) {
	defer st.Close()
	if _, err := io.Copy(st, st); err == nil {
		_ = st.CloseWrite()
	}
}

func noise(seed uint64, size int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// exchange sends a text in pieces of all sizes and requires that it comes back.
func exchange(s *Session, seed uint64, size int) error {
	text := noise(seed, size)
	random := rand.New(rand.NewPCG(seed, 1))
	first := random.IntN(min(size, MostFirst) + 1)
	st, err := s.Open(text[:first])
	if err != nil {
		return err
	}
	defer st.Close()
	failed := make(chan error, 1)
	go func() {
		rest := text[first:]
		for len(rest) > 0 {
			n := min(1+random.IntN(40000), len(rest))
			if _, err := st.Write(rest[:n]); err != nil {
				failed <- err
				return
			}
			rest = rest[n:]
		}
		failed <- st.CloseWrite()
	}()
	got := sha256.New()
	n, err := io.Copy(got, st)
	if err := errors.Join(err, <-failed); err != nil {
		return err
	}
	if want := sha256.Sum256(text); n != int64(size) || !bytes.Equal(got.Sum(nil), want[:]) {
		return errors.New("what came back is something else")
	}
	return nil
}

func TestManyStreams(t *testing.T) {
	near, far := pair(t, Config{}, echo)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			for _, size := range []int{0, 1, 5000, maxPayload, DefaultWindow, DefaultWindow + 1, 700_000} {
				if err := exchange(near, uint64(i), size); err != nil {
					t.Errorf("%d bytes: %v", size, err)
				}
			}
		})
	}
	all.Wait()
	require.Zero(t, near.Streams())
	require.Zero(t, near.Held())
	require.Eventually(t, func() bool { return far.Streams() == 0 && far.Held() == 0 }, 10*time.Second, time.Millisecond)
}

// TestSlowReaderHoldsUpNobody leaves one stream unread whose window is full.
func TestSlowReaderHoldsUpNobody(t *testing.T) {
	near, far := pair(t, Config{}, func(st *Stream) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(st, first); err == nil && first[0] == 'b' {
			_, _ = st.Write(make([]byte, 10*DefaultWindow)) // ends with the stream
		} else {
			_, _ = st.Write(first)
		}
		_ = st.CloseWrite()
		_ = st.Close()
	})
	slow, err := near.Open([]byte("b"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { in, _ := near.Bytes(); return in >= DefaultWindow }, 10*time.Second, time.Millisecond)
	for range 100 {
		st, err := near.Open([]byte("x"))
		require.NoError(t, err)
		got, err := io.ReadAll(st)
		require.NoError(t, err)
		require.Equal(t, "x", string(got))
		require.NoError(t, st.Close())
	}
	in, _ := near.Bytes()
	require.Less(t, in, uint64(DefaultWindow+100_000), "no more than a window is held")
	require.NoError(t, slow.Close())
	require.Eventually(t, func() bool { return far.Streams() == 0 }, 10*time.Second, time.Millisecond)
}

func TestReset(t *testing.T) {
	accepted := make(chan *Stream, 1)
	near, far := pair(t, Config{}, func(st *Stream) { accepted <- st })
	st, err := near.Open(nil)
	require.NoError(t, err)
	peer := <-accepted

	// A reader and a writer that wait are woken.
	read, written := make(chan error, 1), make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, peer); read <- err }()
	go func() { _, err := peer.Write(make([]byte, 2*DefaultWindow)); written <- err }()
	require.Eventually(t, func() bool { in, _ := near.Bytes(); return in >= DefaultWindow }, 10*time.Second, time.Millisecond)
	st.CloseWithCode(CodeInternal)
	require.Equal(t, ResetError{CodeInternal}, <-read)
	require.Equal(t, ResetError{CodeInternal}, <-written)
	_, err = st.Write([]byte("x"))
	require.ErrorIs(t, err, ErrClosed)
	_, err = st.Read(make([]byte, 1))
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, peer.Close())
	require.Zero(t, near.Streams()+far.Streams())
}

// TestEndSurvivesReset reads what came before the end, although the peer wants no more.
func TestEndSurvivesReset(t *testing.T) {
	near, far := pair(t, Config{}, func(st *Stream) {
		_, _ = st.Write([]byte("answer"))
		_ = st.CloseWrite()
		_ = st.Close() // the request has not ended
	})
	st, err := near.Open([]byte("ask"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := st.Write([]byte("more")); return errors.Is(err, ResetError{CodeCanceled}) }, 10*time.Second, time.Millisecond)
	got, err := io.ReadAll(st)
	require.NoError(t, err)
	require.Equal(t, "answer", string(got))
	require.NoError(t, st.Close())
	require.Zero(t, far.Streams())
}

func TestBounds(t *testing.T) {
	wait := make(chan struct{})
	near, _ := pair(t, Config{MaxStreams: 3}, func(st *Stream) { <-wait; _ = st.Close() })
	t.Cleanup(func() { close(wait) })
	for range 3 {
		_, err := near.Open(nil)
		require.NoError(t, err)
	}
	_, err := near.Open(nil)
	require.ErrorIs(t, err, ErrTooMany)

	little, _ := pair(t, Config{Memory: 2 * DefaultWindow}, func(st *Stream) { <-wait; _ = st.Close() })
	for range 2 {
		_, err := little.Open(nil)
		require.NoError(t, err)
	}
	_, err = little.Open(nil)
	require.ErrorIs(t, err, ErrTooMany)
	_, err = little.Open(make([]byte, MostFirst+1))
	require.ErrorContains(t, err, "too many bytes")
}

// TestRefused opens more streams than the peer takes.
func TestRefused(t *testing.T) {
	a, b := net.Pipe()
	near, far := New(a, nil, Config{}), New(b, nil, Config{}) // accepts none
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	st, err := near.Open([]byte("ask"))
	require.NoError(t, err)
	_, err = st.Read(make([]byte, 1))
	require.Equal(t, ResetError{CodeRefused}, err)
	require.NoError(t, st.Close())
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := make(chan struct{})
		near, far := pair(t, Config{}, func(st *Stream) { <-wait; _ = st.Close() })
		st, err := near.Open(nil)
		require.NoError(t, err)
		begin := time.Now()
		require.NoError(t, st.SetReadDeadline(begin.Add(time.Second)))
		_, err = st.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begin))
		require.NoError(t, st.SetDeadline(begin.Add(3*time.Second)))
		n, err := st.Write(make([]byte, 3*DefaultWindow))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, DefaultWindow, n)
		require.Equal(t, 3*time.Second, time.Since(begin))
		require.NoError(t, st.SetDeadline(time.Time{}))
		close(wait)
		_, err = st.Read(make([]byte, 1))
		require.Equal(t, ResetError{CodeCanceled}, err)
		_, _ = near.Close(), far.Close()
	})
}

func TestControl(t *testing.T) {
	a, b := net.Pipe()
	got := make(chan string, 3)
	near, far := New(a, nil, Config{}), New(b, nil, Config{Control: func(m []byte) { got <- string(m) }})
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	for _, m := range []string{"one", "", "three"} {
		require.NoError(t, near.SendControl([]byte(m)))
	}
	require.Equal(t, []string{"one", "", "three"}, []string{<-got, <-got, <-got})
	require.ErrorContains(t, near.SendControl(make([]byte, MaxControl+1)), "too long")
	require.NoError(t, near.Close())
	require.ErrorIs(t, near.SendControl([]byte("x")), ErrClosed)
}

func TestShutdownSendsWhatWasWritten(t *testing.T) {
	a, b := net.Pipe()
	got := make(chan string, 1)
	near, far := New(a, nil, Config{}), New(b, nil, Config{Control: func(m []byte) { got <- string(m) }})
	require.NoError(t, near.SendControl([]byte("last words")))
	near.Shutdown(10 * time.Second)
	require.Equal(t, "last words", <-got)
	<-far.Done()
	require.ErrorIs(t, near.Err(), ErrClosed)
	require.Error(t, far.Err())
}

// TestSilence has a peer that stops, and one that is only busy.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		near := New(a, nil, Config{})
		begin := time.Now()
		go func() { _, _ = io.Copy(io.Discard, b) }() // reads, and says nothing
		<-near.Done()
		require.ErrorIs(t, near.Err(), ErrDead)
		took := time.Since(begin)
		require.Greater(t, took, 6*time.Second)
		require.LessOrEqual(t, took, 7*time.Second)
		var timeout net.Error
		require.ErrorAs(t, near.Err(), &timeout)
		require.True(t, timeout.Timeout())
	})
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t, Config{}, echo)
		time.Sleep(time.Hour)
		require.NoError(t, near.Err())
		require.NoError(t, far.Err())
		_, _ = near.Close(), far.Close()
	})
	// A link that bulk data fills: a byte comes now and then, pongs come late.
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		near := New(a, nil, Config{})
		go func() { _, _ = io.Copy(io.Discard, b) }()
		long := appendHeader(nil, header{kindControl, MaxControl, 0})
		for _, c := range append(long, make([]byte, 20)...) {
			_, err := b.Write([]byte{c})
			require.NoError(t, err)
			time.Sleep(5 * time.Second)
		}
		require.NoError(t, near.Err())
		_, _ = near.Close(), b.Close()
	})
}

// TestBrokenPeer sends what no session may.
func TestBrokenPeer(t *testing.T) {
	frame := func(k kind, stream uint32, payload ...byte) []byte {
		return append(appendHeader(nil, header{k, len(payload), stream}), payload...)
	}
	full := make([]byte, maxPayload)
	for name, test := range map[string]struct {
		frames [][]byte
		want   string
	}{
		"kind":           {[][]byte{frame(0, 1)}, "unknown kind of frame 0"},
		"kind beyond":    {[][]byte{frame(10, 1)}, "unknown kind of frame 10"},
		"confirmation":   {[][]byte{frame(kindConfirm, 1, 1)}, "frame of kind 9 with 1 bytes"},
		"length":         {[][]byte{frame(kindPing, 0, 1)}, "frame of kind 6 with 1 bytes"},
		"long":           {[][]byte{frame(kindData, 1, make([]byte, maxPayload+1)...)}, "frame of kind 2 with 16377 bytes"},
		"stream of ping": {[][]byte{frame(kindPing, 1, 1, 2, 3, 4, 5, 6, 7, 8)}, "frame of kind 6 for stream 1"},
		"no stream":      {[][]byte{frame(kindData, 0, 1)}, "frame of kind 2 for stream 0"},
		"twice":          {[][]byte{frame(kindOpen, 1), frame(kindOpen, 1)}, "opened twice"},
		"window":         {[][]byte{frame(kindOpen, 1), frame(kindWindow, 1, 255, 255, 255, 255)}, "beyond all bounds"},
		"windows":        {[][]byte{frame(kindOpen, 1), frame(kindWindow, 1, 127, 0, 0, 0), frame(kindWindow, 1, 127, 0, 0, 0)}, "beyond all bounds"},
		"after the end":  {[][]byte{frame(kindOpen, 1), frame(kindEnd, 1), frame(kindData, 1, 1)}, "after the end"},
		"too much":       {[][]byte{frame(kindOpen, 1, full...), frame(kindData, 1, full...), frame(kindData, 1, full...), frame(kindData, 1, full...), frame(kindData, 1, full...)}, "more bytes than were allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := net.Pipe()
			s := New(a, nil, Config{Accept: func(*Stream) {}})
			go func() { _, _ = io.Copy(io.Discard, b) }()
			for _, f := range test.frames {
				_, err := b.Write(f)
				require.NoError(t, err)
			}
			<-s.Done()
			require.ErrorContains(t, s.Err(), test.want)
			require.NoError(t, b.Close())
		})
	}
}

// TestFlood has a peer that makes this side answer, and does not read the answers.
func TestFlood(t *testing.T) {
	a, b := net.Pipe()
	s := New(a, nil, Config{}) // refuses each stream
	frames := bytes.Repeat(appendHeader(nil, header{kindOpen, 0, 7}), 1000)
	var sent int
	for {
		n, err := b.Write(frames)
		sent += n
		if err != nil {
			break
		}
	}
	<-s.Done()
	require.ErrorContains(t, s.Err(), "asks more than it reads")
	require.Less(t, sent, 2*(mostWaiting+mostOwn))
	require.NoError(t, b.Close())
}

// TestWindows grows the window of a quick reader and takes it back from a slow one.
func TestWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t, Config{}, func(st *Stream) {
			_, _ = st.Write(make([]byte, 64<<20))
			_ = st.Close()
		})
		near.rtt.Store(int64(50 * time.Millisecond)) // the pipe has none
		near.distance.Store(int64(50 * time.Millisecond))
		st, err := near.Open([]byte("x"))
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, st, 20<<20)
		require.NoError(t, err)
		require.Equal(t, DefaultMaxWindow, st.window)
		require.GreaterOrEqual(t, near.Held(), int64(DefaultMaxWindow))
		for range 4000 {
			_, err = io.CopyN(io.Discard, st, 4<<10)
			require.NoError(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		require.LessOrEqual(t, st.window, 2*DefaultWindow)
		require.LessOrEqual(t, near.Held(), int64(2*DefaultWindow))
		require.NoError(t, st.Close())
		require.Zero(t, near.Held())
		_, _ = near.Close(), far.Close()
	})
}

// TestWindowsOfNearPeersStaySmall has readers that are quick only until what is behind them
// is full.
func TestWindowsOfNearPeersStaySmall(t *testing.T) {
	near, _ := pair(t, Config{}, func(st *Stream) {
		_, _ = st.Write(make([]byte, 64<<20))
		_ = st.Close()
	})
	near.rtt.Store(int64(time.Hour)) // all readers are quick
	for range 300 {
		st, err := near.Open(nil)
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, st, 1<<20)
		require.NoError(t, err)
		require.LessOrEqual(t, st.window, shortWindow)
	}
	require.LessOrEqual(t, near.Held(), int64(DefaultMemory/2+DefaultWindow*300))
	st, err := near.Open(nil)
	require.NoError(t, err, "there is room for more")
	require.NoError(t, st.Close())
}

// TestConfirm waits for the peer's confirmation, which may come before bytes, after them, or
// never.
func TestConfirm(t *testing.T) {
	accepted := make(chan *Stream, 1)
	near, _ := pair(t, Config{}, func(st *Stream) { accepted <- st })
	for _, early := range []bool{true, false} {
		st, err := near.Open([]byte("ask"))
		require.NoError(t, err)
		peer := <-accepted
		if early {
			require.NoError(t, st.Confirm())
		}
		_, err = st.Write([]byte("more"))
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- peer.AwaitConfirm(time.Minute) }()
		if !early {
			require.NoError(t, st.Confirm())
		}
		require.NoError(t, <-done)
		text := make([]byte, len("askmore"))
		_, err = io.ReadFull(peer, text)
		require.NoError(t, err)
		require.Equal(t, "askmore", string(text))
		require.NoError(t, errors.Join(st.Close(), peer.Close()))
		require.ErrorIs(t, st.Confirm(), ErrClosed)
	}
	st, err := near.Open(nil)
	require.NoError(t, err)
	peer := <-accepted
	require.ErrorIs(t, peer.AwaitConfirm(time.Millisecond), os.ErrDeadlineExceeded)
	done, read := make(chan error, 1), make(chan error, 1)
	go func() { _, err := peer.Read(make([]byte, 1)); read <- err }()
	go func() { done <- peer.AwaitConfirm(time.Minute) }()
	require.NoError(t, st.Close())
	require.Equal(t, ResetError{CodeCanceled}, <-done)
	require.Equal(t, ResetError{CodeCanceled}, <-read)
	require.NoError(t, peer.Close())
}

// TestSmallAnswersPassLongOnes has many streams with much to send, and one with little.
func TestSmallAnswersPassLongOnes(t *testing.T) {
	const many, each = 50, 1 << 20
	a, b := net.Pipe()
	accepted := make(chan *Stream, many+1)
	s := New(a, nil, Config{Accept: func(st *Stream) { accepted <- st }})
	var frames []byte
	for id := range uint32(many + 1) {
		frames = appendHeader(frames, header{kindOpen, 0, id + 1})
		frames = appendHeader(frames, header{kindWindow, 4, id + 1})
		frames = append(frames, 0, each>>16, 0, 0)
	}
	_, err := b.Write(frames)
	require.NoError(t, err)
	for range many {
		st := <-accepted
		go func() { _, _ = st.Write(make([]byte, each)) }()
	}
	// When all have sent much, nobody reads any more.
	_, err = io.CopyN(io.Discard, b, 4*many*small)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.writer.waiting) == many && s.writer.full()
	}, 10*time.Second, time.Millisecond)
	st := <-accepted
	require.NoError(t, st.SetWriteDeadline(time.Now().Add(10*time.Second)))
	_, err = st.Write(make([]byte, 1000))
	require.NoError(t, err)
	require.NoError(t, errors.Join(b.Close(), s.Close()))
}

// TestPeerThatDoesNotRead sends, and takes nothing: what is opened and given up again must
// not pile up, and in the end the session is over.
func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		s := New(a, nil, Config{})
		begin := time.Now()
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			for {
				if _, err := b.Write(append(appendHeader(nil, header{kindPing, 8, 0}), make([]byte, 8)...)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		refused := 0
		for range 1000 {
			st, err := s.Open(make([]byte, 14<<10))
			if err != nil {
				require.ErrorIs(t, err, ErrTooMany)
				refused++
				continue
			}
			require.NoError(t, st.Close())
		}
		require.Greater(t, refused, 800)
		s.mu.Lock()
		pending := len(s.writer.pending)
		s.mu.Unlock()
		require.Less(t, pending, 2*(mostWaiting+mostOwn))
		<-s.Done()
		require.ErrorIs(t, s.Err(), os.ErrDeadlineExceeded)
		require.GreaterOrEqual(t, time.Since(begin), stuck)
		require.NoError(t, b.Close())
		<-gone
	})
}

// TestDirect delivers to a reader that waits, in pieces that fit or not.
func TestDirect(t *testing.T) {
	near, _ := pair(t, Config{}, echo)
	st, err := near.Open(nil)
	require.NoError(t, err)
	buf := make([]byte, 100)
	for _, size := range []int{1, 100, 101, 1000, maxPayload + 1} {
		text := noise(uint64(size), size)
		got := make(chan []byte)
		go func() {
			var all []byte
			for len(all) < size {
				n, err := st.Read(buf)
				if err != nil {
					break
				}
				all = append(all, buf[:n]...)
			}
			got <- all
		}()
		_, err := st.Write(text)
		require.NoError(t, err)
		require.True(t, bytes.Equal(text, <-got), size)
	}
	// Who gave up waiting gets nothing into its memory any more.
	require.NoError(t, st.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	clear(buf)
	_, err = st.Read(buf)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = st.Write([]byte("late"))
	require.NoError(t, err)
	require.NoError(t, st.SetReadDeadline(time.Time{}))
	late := make([]byte, 4)
	_, err = io.ReadFull(st, late)
	require.NoError(t, err)
	require.Equal(t, "late", string(late))
	require.Equal(t, make([]byte, 100), buf)
	require.NoError(t, st.Close())
}

// TestBrokenConnection has both sides learn of it, and nobody wait any more.
func TestBrokenConnection(t *testing.T) {
	for name, broken := range map[string]func(a, b net.Conn){
		"here":  func(a, _ net.Conn) { _ = a.Close() },
		"there": func(_, b net.Conn) { _ = b.Close() },
	} {
		t.Run(name, func(t *testing.T) { testBroken(t, broken) })
	}
}

func testBroken(t *testing.T, broken func(a, b net.Conn)) {
	a, b := net.Pipe()
	accepted := make(chan *Stream, 1)
	near, far := New(a, nil, Config{}), New(b, nil, Config{Accept: func(st *Stream) { accepted <- st }})
	st, err := near.Open([]byte("x"))
	require.NoError(t, err)
	peer := <-accepted
	done := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, st); done <- err }()
	broken(a, b)
	require.Error(t, <-done, "the stream has not ended, it was lost")
	<-near.Done()
	<-far.Done()
	_, err = peer.Write(make([]byte, 10))
	require.Error(t, err)
	_, err = near.Open(nil)
	require.Error(t, err)
}
