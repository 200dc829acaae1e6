package object

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/rfc9111"
)

// sample is a page with ordinary header fields.
func sample() *Spec {
	return &Spec{
		Key:    "site|https://www.example.com/a/page.html?x=1|",
		URL:    "https://www.example.com/a/page.html?x=1",
		Status: 200,
		Header: http.Header{
			"Content-Type":   {"text/html; charset=utf-8"},
			"Content-Length": {"5"},
			"Cache-Control":  {"public, max-age=3600"},
			"Date":           {"Sun, 22 Nov 2026 00:48:00 GMT"},
			"Last-Modified":  {"Sat, 21 Nov 2026 00:48:00 GMT"},
			"Etag":           {`"5f3a-5f2b1c"`},
			"Vary":           {"Accept-Encoding", "Accept-Language"},
			"X-Unknown":      {"one", "", "three"},
			"X-Another":      {"value"},
		},
		Freshness: rfc9111.Freshness{ResponseTime: 1, InitialAge: 2, Lifetime: 3, StaleWhileRevalidate: 4, StaleIfError: 5, Flags: 6},
		Tags:      []string{"news", "front page", ""},
		Seq:       42,
	}
}

func whole(o *Object) []byte {
	flat, chunks := o.Body()
	return append(bytes.Clone(flat), bytes.Join(chunks, nil)...)
}

func TestObjectHoldsItsSpec(t *testing.T) {
	s := sample()
	o := New(s, [][]byte{[]byte("he"), nil, []byte("llo")})
	require.Equal(t, s.Key, o.Key())
	require.Equal(t, s.URL, o.URL())
	require.Equal(t, 200, o.Status())
	require.Equal(t, Response, o.Kind())
	require.Equal(t, s.Freshness, o.Freshness())
	require.Equal(t, s.Header, o.Header())
	require.Equal(t, 12, o.NumFields())
	require.Equal(t, s.Tags, slices.Collect(o.Tags))
	require.True(t, o.HasTags())
	require.Empty(t, slices.Collect(o.Vary))
	require.Equal(t, uint64(42), o.Seq())
	require.Equal(t, uint64(42), o.CheckedSeq())
	require.Equal(t, `"5f3a-5f2b1c"`, o.ETag())
	require.Equal(t, "Sat, 21 Nov 2026 00:48:00 GMT", o.LastModified())
	require.Equal(t, "Accept-Encoding", o.Get("Vary"))
	require.Equal(t, "one", o.Get("X-Unknown"))
	require.Equal(t, "value", o.Get("X-Another"))
	require.Empty(t, o.Get("X-Absent"))
	require.Empty(t, o.Get("Expires"))
	require.Equal(t, int64(5), o.Len())
	require.Equal(t, "hello", string(whole(o)))
}

func TestEmptyObject(t *testing.T) {
	o := New(new(Spec), nil)
	require.Empty(t, o.Key())
	require.Empty(t, o.URL())
	require.Empty(t, o.Header())
	require.Empty(t, o.ETag())
	require.Zero(t, o.Len())
	require.Empty(t, whole(o))
	require.False(t, o.HasTags())
	require.Positive(t, o.Weight())
}

func TestVaryMarker(t *testing.T) {
	o := New(&Spec{Key: "k", Kind: VaryMarker, Vary: []string{"Accept", "Accept-Language"}}, nil)
	require.Equal(t, VaryMarker, o.Kind())
	require.Equal(t, "vary", o.Kind().String())
	require.Equal(t, []string{"Accept", "Accept-Language"}, slices.Collect(o.Vary))
}

// The URL lies in the key when the key contains it, and by itself otherwise.
func TestURLInKey(t *testing.T) {
	const url = "https://example.com/page"
	within := New(&Spec{Key: "ns|" + url + "|rules", URL: url}, nil)
	apart := New(&Spec{Key: "ns|https://example.com/other|rules", URL: url}, nil)
	for _, o := range []*Object{within, apart} {
		require.Equal(t, url, o.URL())
		require.Empty(t, o.Header())
	}
	require.Len(t, within.rec, len(within.Key()))
	require.Len(t, apart.rec, len(apart.Key())+len(url))
}

func TestSpecMayBeReused(t *testing.T) {
	s := sample()
	body := []byte("body")
	o := New(s, [][]byte{body})
	want := o.Header()
	s.Header["Content-Type"][0] = "changed"
	s.Tags[0] = "changed"
	copy(body, "gone")
	require.Equal(t, want, o.Header())
	require.Equal(t, "news", slices.Collect(o.Tags)[0])
	require.Equal(t, "body", string(whole(o)))
}

func TestSpellingsOfOneName(t *testing.T) {
	h := http.Header{"x-a": {"1"}, "X-A": {"2"}, "etag": {`"e"`}}
	first := New(&Spec{Header: h}, nil)
	require.Equal(t, http.Header{"X-A": {"1", "2"}, "Etag": {`"e"`}}, first.Header())
	require.Equal(t, `"e"`, first.ETag())
	for range 20 {
		require.Equal(t, first.rec, New(&Spec{Header: h}, nil).rec, "the order of a map shows")
	}
}

func TestLargeBodyIsTakenOver(t *testing.T) {
	chunks := [][]byte{make([]byte, FlatLimit), []byte("x")}
	o := New(sample(), chunks)
	flat, got := o.Body()
	require.Nil(t, flat)
	require.Same(t, &chunks[0][0], &got[0][0])
	require.Equal(t, int64(FlatLimit+1), o.Len())

	o = New(sample(), chunks[:1])
	flat, got = o.Body()
	require.Nil(t, got)
	require.Len(t, flat, FlatLimit)
}

func TestWithUpdated(t *testing.T) {
	for _, size := range []int{10, FlatLimit + 10} {
		body := bytes.Repeat([]byte("b"), size)
		s := sample()
		s.Vary = []string{"Accept"}
		o := New(s, [][]byte{body[:5], body[5:]})
		o.MarkStale(time.Now())
		o.Touch()
		header := http.Header{"Etag": {`"new"`}}
		n := o.WithUpdated(header, rfc9111.Freshness{Lifetime: 9}, []string{"t2"}, 50)
		require.Equal(t, header, n.Header())
		require.Equal(t, int64(9), n.Freshness().Lifetime)
		require.Equal(t, uint64(50), n.Seq())
		require.Equal(t, uint64(50), n.CheckedSeq())
		require.False(t, n.Stale())
		require.Equal(t, uint32(1), n.Hits())
		require.Equal(t, o.Key(), n.Key())
		require.Equal(t, o.URL(), n.URL())
		require.Equal(t, o.Status(), n.Status())
		require.Equal(t, []string{"t2"}, slices.Collect(n.Tags))
		require.Equal(t, s.Vary, slices.Collect(n.Vary))
		require.Equal(t, body, whole(n))
		require.Equal(t, int64(size), n.Len())
		require.Same(t, o.large, n.large)
		require.Equal(t, s.Header, o.Header(), "the old object is unchanged")
	}
}

func TestFillHeader(t *testing.T) {
	o := New(sample(), nil)
	h := http.Header{"Server": {"edge"}, "Date": {"replaced"}}
	backing := o.FillHeader(h, nil)
	require.Len(t, backing, o.NumFields())
	want := sample().Header
	want["Server"] = []string{"edge"}
	require.Equal(t, want, h)

	// Adding to one field must not reach its neighbours in the backing slice.
	for name := range want {
		h.Add(name, "added")
	}
	for name, values := range want {
		require.Equal(t, append(values, "added"), h[name])
	}
	require.Equal(t, sample().Header, o.Header())
}

func TestFillHeaderKeepsWhatIsInBacking(t *testing.T) {
	o := New(sample(), nil)
	backing := append(make([]string, 0, 1+o.NumFields()), "first")
	got := o.FillHeader(http.Header{}, backing)
	require.Equal(t, "first", got[0])
	require.Same(t, &backing[0], &got[0], "there was room enough")
}

func TestFieldsStops(t *testing.T) {
	o := New(sample(), nil)
	n := 0
	for range o.Fields {
		if n++; n == 2 {
			break
		}
	}
	for range o.Tags {
		n++
		break
	}
	require.Equal(t, 3, n)
}

func TestNoAllocations(t *testing.T) {
	o := New(sample(), [][]byte{[]byte("hello")})
	header := make(http.Header, 16)
	backing := make([]string, 0, 16)
	sum := 0
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for name, value := range o.Fields {
			sum += len(name) + len(value)
		}
		for tag := range o.Tags {
			sum += len(tag)
		}
		flat, _ := o.Body()
		sum += len(flat) + len(o.Get("X-Unknown")) + len(o.ETag()) + int(o.Freshness().Lifetime)
		backing = o.FillHeader(header, backing[:0])
	}))
	require.Positive(t, sum)
}

func TestMarks(t *testing.T) {
	o := New(sample(), nil)
	require.False(t, o.Stale())
	o.MarkStale(time.Now())
	require.True(t, o.Stale())
	o.SetCheckedSeq(50)
	o.SetCheckedSeq(45)
	require.Equal(t, uint64(50), o.CheckedSeq())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 1000 {
				o.Touch()
				o.SetCheckedSeq(uint64(100*j + i))
			}
		})
	}
	wg.Wait()
	require.Equal(t, uint32(8000), o.Hits())
	require.Equal(t, uint64(99_907), o.CheckedSeq())
}

func TestKnownNamesAreCanonicalAndDistinct(t *testing.T) {
	require.Len(t, codes, len(knownNames)-1)
	for i, name := range knownNames[1:] {
		require.Equal(t, http.CanonicalHeaderKey(name), name)
		require.Equal(t, uint8(i+1), codeOf(name))
	}
}

// FuzzObject checks that what goes into an object comes out of it.
func FuzzObject(f *testing.F) {
	f.Add("k", "u", "Etag", "v", "X-A", "w", "tag", []byte("body"), uint8(3))
	f.Add("k|u", "u", "etag", "", "Etag", strings.Repeat("v", 300), "", []byte{}, uint8(0))
	f.Fuzz(func(t *testing.T, key, url, name1, value1, name2, value2, tag string, body []byte, repeat uint8) {
		header := http.Header{}
		header[http.CanonicalHeaderKey(name1)] = slices.Repeat([]string{value1, value2}, 1+int(repeat)%3)
		header[http.CanonicalHeaderKey(name2)] = []string{value2}
		s := &Spec{Key: key, URL: url, Header: header, Tags: []string{tag, key}, Vary: []string{name1}, Status: 203}
		full := bytes.Repeat(body, int(repeat))
		cut := len(full) / 3
		o := New(s, [][]byte{bytes.Clone(full[:cut]), bytes.Clone(full[cut:])})
		for _, o := range []*Object{o, o.WithUpdated(header, o.Freshness(), slices.Collect(o.Tags), 7)} {
			require.Equal(t, key, o.Key())
			require.Equal(t, url, o.URL())
			require.Equal(t, header, o.Header())
			require.Equal(t, s.Tags, slices.Collect(o.Tags))
			require.Equal(t, s.Vary, slices.Collect(o.Vary))
			require.Equal(t, int64(len(full)), o.Len())
			require.True(t, bytes.Equal(full, whole(o)))
			n := 0
			for name, values := range header {
				require.Equal(t, values[0], o.Get(name))
				n += len(values)
			}
			require.Equal(t, n, o.NumFields())
		}
	})
}
