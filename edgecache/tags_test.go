package edgecache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/edgecache/purge"
)

// TestValidationChangesTags: tags that came with a 304 are those by which the
// response is purged from then on.
func TestValidationChangesTags(t *testing.T) {
	for _, field := range []string{"Cache-Tag", "Surrogate-Key", "Cache-Groups"} {
		for _, tt := range []struct {
			tag  string
			want string
		}{{"new", "2"}, {"other", "2"}, {"old", "1"}, {"none", "1"}} {
			t.Run(field+" "+tt.tag, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					body, tags := "1", []string{"old"}
					g, cleanup := newRig(t, `{}`, func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Cache-Control", "max-age=60")
						w.Header().Set("Etag", `"1"`)
						if field == "Cache-Groups" {
							w.Header().Set(field, `"`+strings.Join(tags, `", "`)+`"`)
						} else {
							w.Header().Set(field, strings.Join(tags, " "))
						}
						if r.Header.Get("If-None-Match") != "" {
							w.WriteHeader(http.StatusNotModified)
							return
						}
						_, _ = fmt.Fprint(w, body)
					})
					defer cleanup()
					g.get("http://example.com/")
					time.Sleep(2 * time.Minute)
					tags = []string{"new", "other"}
					require.Equal(t, "1", g.get("http://example.com/").Body.String())
					body = "2"
					g.shared.purge(purge.Purge{Kind: purge.Tag, Value: tt.tag})
					require.Equal(t, tt.want, g.get("http://example.com/").Body.String())
				})
			})
		}
	}
}

// tagList returns n tags as they stand in a Cache-Tag field.
func tagList(n int) string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("t%d", i)
	}
	return strings.Join(tags, ",")
}

// TestEveryTagPurges: there is no tag of a stored response that does not purge it.
func TestEveryTagPurges(t *testing.T) {
	for _, n := range []int{1, 900, 1000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			o := &numbered{fields: []string{"Cache-Control: max-age=60", "Cache-Tag: " + tagList(n)}}
			g, cleanup := newRig(t, `{}`, o.ServeHTTP)
			defer cleanup()
			g.get("http://example.com/")
			for i := range n {
				g.shared.purge(purge.Purge{Kind: purge.Tag, Value: fmt.Sprintf("t%d", i)})
				g.get("http://example.com/")
				o.requireFetches(t, i+2, fmt.Sprintf("tag %d", i))
				require.Contains(t, g.get("http://example.com/").cacheStatus(), "edge; hit")
			}
		})
	}
}

// TestTooManyTags: a response that could not be purged by each of its tags is not
// stored, on any way.
func TestTooManyTags(t *testing.T) {
	for _, config := range []string{`{}`, `{"collapse": {"off": true}}`} {
		t.Run(config, func(t *testing.T) {
			o := &numbered{fields: []string{"Cache-Control: max-age=60", "Cache-Tag: " + tagList(1001)}}
			g, cleanup := newRig(t, config, o.ServeHTTP)
			defer cleanup()
			for n := range 3 {
				got := g.get("http://example.com/")
				require.Equal(t, strconv.Itoa(n+1), got.Body.String())
				require.Equal(t, "edge; fwd=uri-miss; detail=tag-limit", got.cacheStatus())
			}
			require.Zero(t, g.shared.memory.Stats().Entries)
		})
	}
}

// TestValidationBringsTooManyTags: what can no longer be purged by each of its
// tags does not stay.
func TestValidationBringsTooManyTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &held{numbered: numbered{fields: []string{"Cache-Control: max-age=60", `Etag: "1"`}}}
		g, cleanup := newRig(t, `{}`, o.ServeHTTP)
		defer cleanup()
		g.get("http://example.com/")
		time.Sleep(2 * time.Minute)
		o.fields = append(o.fields, "Cache-Tag: "+tagList(1001))
		require.Equal(t, "1", g.get("http://example.com/").Body.String())
		require.Zero(t, g.shared.memory.Stats().Entries)
	})
}
