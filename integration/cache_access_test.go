package integration

import (
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
	"github.com/caddyedge/caddy-edge/integration/harness/origin"
)

// passwordHash is "secret" at the least cost of bcrypt: the race detector makes
// the usual one take seconds.
const passwordHash = "$2a$04$UU.A41XrbRMkDSuqhTvIH.giuBAQ8o9WmRp8uEAja6Y1v5tE8NEuy"

func basicAuth(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestFault_CacheBeforeAuthentication(t *testing.T) {
	t.Parallel()
	c := startCaddyfile(t, `
		{{http "site"}} {
			basic_auth /admin/* {
				alice {{.hash}}
			}
			handle /admin/* {
				edge_cache
				reverse_proxy {{.origin}}
			}
			handle /inside/* {
				basic_auth {
					alice {{.hash}}
				}
				edge_cache
				reverse_proxy {{.origin}}
			}
			handle {
				@outside header X-Outside *
				edge_cache
				respond @outside "denied" 403
				reverse_proxy {{.origin}}
			}
		}
	`, harness.Vars{"hash": passwordHash})
	// Public on purpose: the origin allows every cache to store it, and still
	// nobody may have it without the password.
	c.origin.HandleFunc("/admin/page", numbered("Cache-Control: public, max-age=60"))
	c.origin.HandleFunc("/inside/page", numbered("Cache-Control: public, max-age=60"))
	c.origin.HandleFunc("/page", numbered(minute))

	for _, path := range []string{"/admin/page", "/inside/page"} {
		for range 2 {
			got := c.get(path, basicAuth("alice", "secret"))
			require.Equal(t, http.StatusOK, got.Status)
			require.Equal(t, "answer 1", string(got.Body))
		}
		for _, lines := range [][]string{nil, {basicAuth("alice", "wrong")}, {"Authorization: Bearer secret"}} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				got := c.do(method, path, "", lines...)
				require.Equal(t, http.StatusUnauthorized, got.Status)
				require.NotContains(t, string(got.Body), "answer")
				require.Empty(t, cacheStatus(got))
			}
		}
		c.requireArrived(path, 1)
	}

	require.Equal(t, "answer 1", string(c.get("/page").Body))
	got := c.get("/page", "X-Outside: 1")
	require.Equal(t, http.StatusForbidden, got.Status)
	require.Equal(t, "denied", string(got.Body))
}

func TestFault_CacheBeforeAuthenticationIsALoadError(t *testing.T) {
	t.Parallel()
	const good = `
		{{http "site"}} {
			edge_cache
			reverse_proxy {{.origin}}
		}
	`
	c := startCaddyfile(t, good, harness.Vars{"hash": passwordHash})
	c.origin.HandleFunc("/page", numbered(minute))
	c.get("/page")
	for name, route := range map[string]string{
		"basic_auth in route": `route {
				edge_cache
				basic_auth {
					alice {{.hash}}
				}
				reverse_proxy {{.origin}}
			}`,
		"basic_auth in a nested route": `route {
				edge_cache
				route /admin/* {
					basic_auth {
						alice {{.hash}}
					}
				}
				reverse_proxy {{.origin}}
			}`,
		"respond by address": `route {
				edge_cache
				@outside not remote_ip 10.0.0.0/8
				respond @outside 403
				reverse_proxy {{.origin}}
			}`,
		"error by header": `route {
				edge_cache
				@outside not header X-Key 1
				error @outside 403
				reverse_proxy {{.origin}}
			}`,
		"forward_auth": `route {
				edge_cache
				forward_auth {{.origin}} {
					uri /auth
				}
				reverse_proxy {{.origin}}
			}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			err := c.Reload(`
		{{http "site"}} {
			` + route + `
		}
	`)
			require.ErrorContains(t, err, "edge_cache")
			require.Equal(t, "answer 1", string(c.get("/page").Body), "the running config is not touched")
		})
	}
}

func TestRespondIsInFrontOfTheCache(t *testing.T) {
	t.Parallel()
	o := origin.Start(t)
	e := harness.Start(t, `
		{{http "site"}} {
			edge_cache
			respond /static "static"
			reverse_proxy {{.origin}}
		}
	`, harness.Vars{"origin": o.Addr()})
	got := e.Get(harness.H1, e.URL("site")+"/static")
	require.Equal(t, "static", string(got.Body))
	require.Empty(t, got.Header.Get("Cache-Status"), "respond comes before the cache")
}
