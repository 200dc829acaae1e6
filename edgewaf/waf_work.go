package edgewaf

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyedge/caddy-edge/edgewaf/content"
	"github.com/caddyedge/caddy-edge/edgewaf/crs"
)

// What things cost beside their bytes, in bytes: measured, by rules that find nothing.
const (
	perArgument = 1000
	perCookie   = 2000
	perField    = 128
	perElement  = 150 // begun or ended
)

// work estimates what the rules will have to do: bytes times rules. It is made before,
// since the engine can't be interrupted.
func (i *inspection) work() int64 {
	size := int64(len(i.r.RequestURI)) + perArgument*int64(strings.Count(i.r.RequestURI, "&"))
	for name, list := range i.r.Header {
		for _, value := range list {
			size += int64(len(name)+len(value)) + perField
			if name == "Cookie" {
				size += perCookie * int64(strings.Count(value, ";"))
			}
		}
	}
	seen := i.body.seen
	size += int64(len(seen))
	count := func(sign string) int64 { return int64(bytes.Count(seen, []byte(sign))) }
	switch i.body.kind {
	case content.Form, content.Text:
		size += perArgument * min(count("&"), int64(i.f.CRS.MaxArgs))
	case content.JSON:
		// The length of each array is an argument of its own.
		size += perArgument * (min(count(","), int64(i.f.CRS.MaxArgs)) + min(count("["), int64(i.f.CRS.MaxArgs)))
	case content.Multipart:
		size += perArgument * min(count("\n--"), int64(i.f.CRS.MaxArgs))
	case content.XML:
		size += perElement * count("<")
	case content.Other, content.Stream:
	}
	return size * int64(i.f.rules.phase)
}

// abridge has the engine see less of the content where that makes no difference: a word in the
// place of each image, and of JSON with more values than it takes each different one. Rules of
// included files may be about what is left out, and so are bounds on values.
func (i *inspection) abridge() {
	b, o := i.body, i.f.CRS
	if len(o.Include)+len(o.IncludeBefore) > 0 || o.MaxArgsTotal > 0 {
		return
	}
	if o.MaxArgValue == 0 {
		b.seen = content.WithoutImages(b.kind, b.seen)
	}
	if b.kind != content.JSON {
		return
	}
	room := o.MaxArgs
	if _, query, ok := strings.Cut(i.r.RequestURI, "?"); ok {
		room -= strings.Count(query, "&") + 1
	}
	if bytes.Count(b.seen, []byte(","))+bytes.Count(b.seen, []byte("[")) >= room && !i.numbered() {
		b.seen = content.Once(b.seen, room)
	}
}

// numbered reports whether an exception may be about a single place in an array.
func (i *inspection) numbered() bool {
	return slices.ContainsFunc(i.off, (*crs.Removal).Numbered) || slices.ContainsFunc(i.shadows, (*crs.Removal).Numbered)
}

// leastLook is how much content is looked at even where that is more work than allowed.
const leastLook = 4 << 10

// shorten has less of the content looked at by the engine where all of it would be too much
// work, as if it were beyond the limit.
func (i *inspection) shorten() {
	b := i.body
	if i.f.Budget <= 0 || len(b.seen) <= leastLook || i.work() <= i.f.Budget {
		return
	}
	whole, boundary := b.seen, content.Boundary(i.r.Header.Get("Content-Type"))
	for n := len(whole); n > leastLook && i.work() > i.f.Budget; {
		n /= 2
		b.seen = content.Mend(b.kind, boundary, whole[:n])
	}
	if !b.long {
		i.cut()
	}
}

// cut tells of content of which only a part is looked at.
func (i *inspection) cut() {
	if !i.dry {
		i.f.state.metrics.cut.Inc()
	}
	if i.f.Body.OnLimit == OnReject {
		i.fail("body-limit", http.StatusRequestEntityTooLarge, outcomeTooLong)
	}
}
