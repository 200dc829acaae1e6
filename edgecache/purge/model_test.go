package purge

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/caddyedge/caddy-edge/edgecache/object"
)

// modelPurge is the obvious implementation of a purge: a list entry with its
// time, compared with every object by plain string operations.
type modelPurge struct {
	Purge
	seq uint64
}

func (p modelPurge) matches(o *object.Object) bool {
	rest := strings.TrimPrefix(o.URL(), "https://")
	host, target, _ := strings.Cut(rest, "/")
	target = "/" + target
	path, _, _ := strings.Cut(target, "?")
	name, port, _ := strings.Cut(host, ":")
	withPort := host
	if port == "" {
		withPort += ":443"
	}
	switch p.Kind {
	case URL:
		return p.Value == o.URL() || p.Value == rest || p.Value == withPort+target
	case Key:
		return p.Value == o.Key()
	case Tag:
		return slices.Contains(slices.Collect(o.Tags), p.Value)
	case Host:
		return p.Value == host || p.Value == name || p.Value == withPort
	case Prefix:
		for _, h := range []string{withPort, host, name, ""} {
			prefix, ok := strings.CutPrefix(strings.TrimSuffix(p.Value, "/"), h)
			if ok && (prefix == "" || prefix[0] == '/') && (path == prefix || strings.HasPrefix(path, prefix+"/")) {
				return h != "" || strings.HasPrefix(p.Value, "/")
			}
		}
		return false
	case Wildcard:
		before, after, ok := strings.Cut(p.Value, "*")
		if !ok || strings.Contains(after, "*") {
			panic("the model knows patterns with one star only")
		}
		for _, s := range []string{host + target, name + target, withPort + target, target} {
			if len(s) >= len(before)+len(after) && strings.HasPrefix(s, before) && strings.HasSuffix(s, after) {
				return true
			}
		}
		return false
	default:
		return true
	}
}

func modelVerdict(purges []modelPurge, o *object.Object) Verdict {
	verdict := Live
	for _, p := range purges {
		switch {
		case p.seq <= o.Seq() || !p.matches(o):
		case !p.Soft:
			return Gone
		default:
			verdict = Soft
		}
	}
	return verdict
}

var (
	modelHosts = []string{"a.test", "b.test", "a.test:81"}
	modelPaths = []string{"/", "/x", "/x/", "/x/y", "/xy", "/x/y/z?q", "/x?q"}
	modelTags  = []string{"t", "u", "v"}
)

func drawURL(t *rapid.T) string {
	return "https://" + rapid.SampledFrom(modelHosts).Draw(t, "host") + rapid.SampledFrom(modelPaths).Draw(t, "path")
}

func drawPurge(t *rapid.T) Purge {
	p := Purge{Kind: Kind(rapid.IntRange(0, numKinds-1).Draw(t, "kind")), Soft: rapid.Bool().Draw(t, "soft")}
	url := drawURL(t)
	switch p.Kind {
	case URL:
		p.Value = rapid.SampledFrom([]string{url, strings.TrimPrefix(url, "https://"), "a.test:443/x", "b.test:443/x?q"}).Draw(t, "url")
	case Key:
		p.Value = rapid.SampledFrom([]string{"k1", "k2", "k3"}).Draw(t, "key")
	case Tag:
		p.Value = rapid.SampledFrom(modelTags).Draw(t, "tag")
	case Host:
		p.Value = rapid.SampledFrom(append([]string{"a.test:443"}, modelHosts...)).Draw(t, "host")
	case Prefix:
		p.Value = rapid.SampledFrom([]string{"a.test", "a.test/x", "a.test:81/x/", "b.test/x/y", "/x/y", "/", "b.test/", "a.test:443/x"}).Draw(t, "prefix")
	case Wildcard:
		p.Value = rapid.SampledFrom([]string{"a.test/*", "b.test/*y", "/x*", "a.test:81/x*", "a.*/x", "a.test/x/*?q", "a.test:443/x*"}).Draw(t, "pattern")
	case All:
	}
	return p
}

// outstanding returns how many distinct purges came after floor. A table may
// know two spellings of a purge as one, or as two, so it is an upper bound.
func outstanding(purges []modelPurge, floor uint64) int {
	distinct := map[Purge]bool{}
	wildcards := 0
	for _, p := range purges {
		switch {
		case p.seq <= floor:
		case p.Kind == Wildcard:
			wildcards++
		default:
			distinct[Purge{Kind: p.Kind, Value: p.Value}] = true
		}
	}
	return len(distinct) + wildcards
}

// TestCheckEqualsModel applies random histories to a table and to a plain list,
// and sweeps the table as it likes: the verdict about every object that the
// table still knows must be the same, no fetch that has begun may be refused,
// and a sweep must forget all that no fetch needs.
func TestCheckEqualsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := New()
		var purges []modelPurge
		var objects []*object.Object
		var begun []uint64 // the numbers of the fetches under way
		newStored := func(t *rapid.T, seq uint64) *object.Object {
			tags := rapid.SliceOfN(rapid.SampledFrom(modelTags), 0, 2).Draw(t, "tags")
			key := rapid.SampledFrom([]string{"k1", "k2", "k3"}).Draw(t, "key")
			return newObject(seq, key, drawURL(t), tags...)
		}
		// finish ends one of the fetches, whose object is stored when no purge
		// has hit it.
		finish := func(t *rapid.T) {
			i := rapid.IntRange(0, len(begun)-1).Draw(t, "fetch")
			seq := begun[i]
			o := newStored(t, seq)
			require.True(t, table.Accept(seq))
			want := modelVerdict(purges, o)
			require.Equal(t, want, table.Check(o), "%s", o.URL())
			if want != Gone {
				objects = append(objects, o)
			}
			table.End(seq)
			begun = slices.Delete(begun, i, i+1)
		}
		add := func(t *rapid.T) {
			batch := rapid.SliceOfN(rapid.Custom(drawPurge), 1, 3).Draw(t, "batch")
			seq := table.Add(batch...)
			for _, p := range batch {
				purges = append(purges, modelPurge{Purge: p, seq: seq})
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"store": func(t *rapid.T) {
				// What nobody announced may still be stored if nothing was
				// forgotten since it started.
				floor := table.state.Load().floor
				seq := rapid.Uint64Range(0, table.Seq()).Draw(t, "seq")
				require.Equal(t, seq >= floor, table.Accept(seq))
				if seq >= floor {
					objects = append(objects, newStored(t, seq))
				} else {
					require.Equal(t, Gone, table.Check(newStored(t, seq)))
				}
			},
			"begin": func(t *rapid.T) {
				begun = append(begun, table.Begin())
				require.Equal(t, table.Seq(), begun[len(begun)-1])
			},
			"finish": func(t *rapid.T) {
				if len(begun) > 0 {
					finish(t)
				}
			},
			"purge": add,
			"check": func(t *rapid.T) {
				if len(objects) == 0 {
					return
				}
				o := rapid.SampledFrom(objects).Draw(t, "object")
				require.Equal(t, modelVerdict(purges, o), table.Check(o), "%s", o.URL())
			},
			"sweep": func(t *rapid.T) {
				floor := table.Seq()
				for _, seq := range begun {
					floor = min(floor, seq)
				}
				floor = max(floor, table.state.Load().floor)
				none := table.Outstanding() == 0
				dropped := map[*object.Object]bool{}
				table.Sweep(func(yield func(*object.Object) bool) {
					for i, o := range slices.Clone(objects) {
						yield(o)
						// What happens during the pass, which misses what is
						// stored then.
						switch during := rapid.IntRange(0, 9).Draw(t, "during"+strconv.Itoa(i)); {
						case during == 0:
							add(t)
						case during == 1:
							begun = append(begun, table.Begin())
						case during == 2 && len(begun) > 0:
							finish(t)
						}
					}
				}, func(o *object.Object) {
					dropped[o] = true
					if modelVerdict(purges, o) != Gone {
						t.Errorf("dropped %s, which is not purged", o.URL())
					}
				})
				objects = slices.DeleteFunc(objects, func(o *object.Object) bool { return dropped[o] })
				if !none {
					require.Equal(t, floor, table.state.Load().floor)
				}
				require.LessOrEqual(t, table.Outstanding(), outstanding(purges, floor))
			},
			"": func(t *rapid.T) {
				for _, o := range objects {
					require.Equal(t, modelVerdict(purges, o), table.Check(o), "%s", o.URL())
				}
			},
		})
	})
}
