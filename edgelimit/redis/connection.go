package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddyedge/caddy-edge/edgelimit/lease"
)

//go:embed lease.lua
var leaseScript string

//go:embed beat.lua
var beatScript string

// connection is a server reached through rueidis.
type connection struct {
	client   rueidis.Client
	beats    *rueidis.Lua
	leaseSHA string // as told by the server
	nodesKey string
}

// connect makes the connection. Once made it is renewed by rueidis.
func connect(ctx context.Context, cfg Config) (server, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:         cfg.Addresses,
		Username:            cfg.Username,
		Password:            cfg.Password,
		TLSConfig:           cfg.TLS,
		SelectDB:            cfg.DB,
		Dialer:              net.Dialer{Timeout: cfg.Timeout},
		ConnWriteTimeout:    cfg.Timeout,
		PipelineMultiplex:   -1, // one connection: there is one goroutine
		ReadBufferEachConn:  64 << 10,
		WriteBufferEachConn: 64 << 10,
		DisableRetry:        true, // the worker has its own pace
		DisableCache:        true,
	})
	if err != nil {
		return nil, err
	}
	sha, err := client.Do(ctx, client.B().ScriptLoad().Script(leaseScript).Build()).ToString()
	if err != nil {
		client.Close()
		return nil, err
	}
	return &connection{
		client: client, leaseSHA: sha,
		beats:    rueidis.NewLuaScript(beatScript, rueidis.WithLoadSHA1(true)),
		nodesKey: cfg.Prefix + "{nodes}",
	}, nil
}

func (c *connection) beat(ctx context.Context, id string, ttl time.Duration) (int, error) {
	alive, err := c.beats.Exec(ctx, c.client, []string{c.nodesKey}, []string{id, strconv.FormatInt(ttl.Milliseconds(), 10)}).AsInt64()
	return int(alive), err
}

func (c *connection) leave(ctx context.Context, id string) error {
	return c.client.Do(ctx, c.client.B().Zrem().Key(c.nodesKey).Member(id).Build()).Error()
}

func (c *connection) forget(ctx context.Context, key string) error {
	return c.client.Do(ctx, c.client.B().Del().Key(key).Build()).Error()
}

func (c *connection) close() { c.client.Close() }

func (c *connection) exchange(ctx context.Context, calls []call) error {
	if len(calls) == 0 {
		return nil
	}
	pending := make([]*call, len(calls))
	for i := range calls {
		pending[i] = &calls[i]
	}
	if err := c.pipeline(ctx, pending, c.bySHA); err != nil {
		return err
	}
	// A server that was restarted does not know the script. EVAL teaches it.
	unknown := pending[:0]
	for _, p := range pending {
		if e, ok := rueidis.IsRedisErr(p.err); ok && e.IsNoScript() {
			unknown = append(unknown, p)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return c.pipeline(ctx, unknown, c.bySource)
}

func (c *connection) bySHA(p *call) rueidis.Completed {
	return c.client.B().Evalsha().Sha1(c.leaseSHA).Numkeys(1).Key(p.zone.key(p.ask.Key)).Arg(p.args()...).Build()
}

func (c *connection) bySource(p *call) rueidis.Completed {
	return c.client.B().Eval().Script(leaseScript).Numkeys(1).Key(p.zone.key(p.ask.Key)).Arg(p.args()...).Build()
}

func (p *call) args() []string {
	return []string{
		p.zone.rate, p.zone.burst,
		strconv.FormatInt(p.ask.Spent, 10), strconv.FormatInt(p.ask.Back, 10), strconv.FormatInt(p.ask.Want, 10),
	}
}

// pipeline makes the calls in one go. Errors of single keys are set in the calls;
// the error returned is that of the connection.
func (c *connection) pipeline(ctx context.Context, calls []*call, command func(*call) rueidis.Completed) error {
	commands := make(rueidis.Commands, len(calls))
	for i, p := range calls {
		commands[i] = command(p)
	}
	for i, result := range c.client.DoMulti(ctx, commands...) {
		p := calls[i]
		if p.answer, p.err = parseAnswer(result); p.err != nil {
			if _, ok := rueidis.IsRedisErr(p.err); !ok {
				return p.err
			}
		}
	}
	return nil
}

var errAnswer = errors.New("unexpected answer of the script")

func parseAnswer(r rueidis.RedisResult) (lease.Answer, error) {
	fields, err := r.ToArray()
	if err != nil {
		return lease.Answer{}, err
	}
	if len(fields) != 2 {
		return lease.Answer{}, fmt.Errorf("%w: %d fields", errAnswer, len(fields))
	}
	granted, err := fields[0].AsInt64()
	if err != nil {
		return lease.Answer{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	free, err := fields[1].AsFloat64()
	if err != nil {
		return lease.Answer{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	return lease.Answer{Granted: granted, Free: free}, nil
}
