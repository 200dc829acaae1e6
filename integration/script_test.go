package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

// stub is a command that notes its arguments and the variables that matter. As go it
// builds what STUB_BINARY names; STUB_FAIL makes it fail.
const stub = `#!/usr/bin/env bash
if [[ "$1 $2" == 'env GOVERSION' ]]; then
	echo "${STUB_VERSION:-go9.99.0}"
	exit
fi
{
	printf '%s' "${0##*/}"
	printf ' [%s]' "$@"
	printf '\n'
} >>"$STUB_NOTES"
if [[ $1 == build ]]; then
	printf 'CGO_ENABLED=%s GOWORK=%s CADDY_VERSION=%s\n' "${CGO_ENABLED:-}" "${GOWORK:-}" "${CADDY_VERSION:-}" >>"$STUB_NOTES"
	[[ ! -f main.go ]] || cat main.go >"$STUB_NOTES.main"
	[[ -z ${STUB_FAIL:-} || $STUB_FAIL != "${0##*/}" ]] || exit 1
	while (($# > 0)); do
		case $1 in -o | --output) cp "$STUB_BINARY" "$2" ;; esac
		shift
	done
fi
`

// script is a place in which xcaddy.sh runs, with the commands of a PATH of its own.
type script struct {
	t    *testing.T
	dir  string
	vars []string
}

// newScript makes a PATH of the tools that every system has, and stubs.
func newScript(t *testing.T, stubs ...string) *script {
	t.Helper()
	s := &script{t: t, dir: t.TempDir()}
	bin := filepath.Join(s.dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o700))
	for _, tool := range []string{"bash", "env", "cat", "cp", "mkdir", "mktemp", "rm", "dirname", "basename", "sort", "head", "sleep", "grep", "id", "ln"} {
		path, err := exec.LookPath(tool)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(bin, tool)))
	}
	for _, name := range stubs {
		s.write("bin/"+name, stub)
	}
	s.write("binary", "#!/usr/bin/env bash\n")
	s.vars = []string{
		"PATH=" + bin, "HOME=" + s.dir, "TMPDIR=" + s.dir, "XDG_CACHE_HOME=" + s.dir,
		"STUB_NOTES=" + filepath.Join(s.dir, "notes"), "STUB_BINARY=" + filepath.Join(s.dir, "binary"),
	}
	return s
}

func (s *script) write(name, text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o700)) //nolint:gosec // it is to be run
}

// command is xcaddy.sh with variables NAME=VALUE and arguments.
func (s *script) command(vars []string, args ...string) *exec.Cmd {
	root, err := filepath.Abs("..")
	require.NoError(s.t, err)
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(root, "xcaddy.sh"), args...)
	cmd.Dir, cmd.Env = s.dir, append(slices.Clip(s.vars), vars...)
	return cmd
}

// run runs it to its end, and returns what it printed and what the stubs have noted.
func (s *script) run(vars []string, args ...string) (output string, notes []string, err error) {
	s.t.Helper()
	_ = os.Remove(filepath.Join(s.dir, "notes"))
	out, err := s.command(vars, args...).CombinedOutput()
	text, _ := os.ReadFile(filepath.Join(s.dir, "notes"))
	return string(out), strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), err
}

// root is the directory of the repository.
func (s *script) root() string {
	root, err := filepath.Abs("..")
	require.NoError(s.t, err)
	return root
}

func TestScriptBuilds(t *testing.T) {
	t.Parallel()
	s := newScript(t, "go")
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "local"), 0o700))
	edit := func(more string) string {
		return "go [mod] [edit] [-replace=github.com/caddyedge/caddy-edge=" + s.root() + "] [-require=github.com/caddyedge/caddy-edge@v0.0.0]" + more
	}
	const standard = " [-trimpath] [-ldflags] [-w -s] [-tags] [nobadger,nomysql,nopgx] [.]"
	for _, test := range []struct {
		name         string
		vars, args   []string
		edits, get   string
		flags, about string
		imports      []string
	}{
		{name: "plain", flags: standard},
		{
			name: "with", args: []string{"--with", "example.com/a@v1.2.3", "--with", "example.com/b", "--with", "example.com/c=./local", "--with", "example.com/d@v2=/abs"},
			edits: " [-replace=example.com/c=" + s.dir + "/local] [-require=example.com/c@v0.0.0] [-replace=example.com/d=/abs]",
			get:   "go [get] [example.com/a@v1.2.3] [example.com/b] [example.com/d@v2]", flags: standard,
			imports: []string{"example.com/a", "example.com/b", "example.com/c", "example.com/d"},
		},
		{name: "another Caddy", vars: []string{"CADDY_VERSION=v2.11.0"}, get: "go [get] [github.com/caddyserver/caddy/v2@v2.11.0]", flags: standard},
		{name: "flags", vars: []string{"XCADDY_GO_BUILD_FLAGS=-tags x -v"}, flags: " [-tags] [x] [-v] [.]"},
		{name: "race", vars: []string{"XCADDY_RACE_DETECTOR=1"}, flags: " [-trimpath] [-ldflags] [-w -s] [-tags] [nobadger,nomysql,nopgx] [-race] [.]", about: "1"},
		{name: "debug", vars: []string{"XCADDY_DEBUG=1"}, flags: " [-gcflags] [all=-N -l] [.]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.about == "" {
				test.about = "0"
			}
			file := filepath.Join(s.dir, "new", "edge")
			out, notes, err := s.run(test.vars, append([]string{"build", "-o", "new/edge"}, test.args...)...)
			require.NoError(t, err, out)
			want := []string{"go [mod] [init] [caddy]", edit(test.edits)}
			if test.get != "" {
				want = append(want, test.get)
			}
			version := ""
			if test.name == "another Caddy" {
				version = "v2.11.0"
			}
			want = append(want, "go [build] [-mod=mod] [-o] ["+file+"]"+test.flags, "CGO_ENABLED="+test.about+" GOWORK=off CADDY_VERSION="+version)
			require.Equal(t, want, notes)
			require.FileExists(t, file)
			main, err := os.ReadFile(filepath.Join(s.dir, "notes.main"))
			require.NoError(t, err)
			for _, path := range append(test.imports, "github.com/caddyedge/caddy-edge", "github.com/caddyserver/caddy/v2/modules/standard", "time/tzdata") {
				require.Contains(t, string(main), "\t_ \""+path+"\"\n")
			}
			left, err := filepath.Glob(filepath.Join(s.dir, "caddy-edge.*"))
			require.NoError(t, err)
			require.Empty(t, left, "its temporary files are gone")
		})
	}
	t.Run("a go of another name", func(t *testing.T) {
		s := newScript(t, "go", "go9")
		_, notes, err := s.run([]string{"XCADDY_WHICH_GO=go9"}, "build")
		require.NoError(t, err)
		require.Equal(t, "go9 [mod] [init] [caddy]", notes[0])
		require.FileExists(t, filepath.Join(s.dir, "caddy"), "what it is called by default")
	})
}

func TestScriptBuildsWithXcaddy(t *testing.T) {
	t.Parallel()
	s := newScript(t, "go", "xcaddy")
	wanted, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	caddy := regexp.MustCompile(`github.com/caddyserver/caddy/v2 (\S+)`).FindStringSubmatch(string(wanted))[1]
	file := filepath.Join(s.dir, "caddy")
	call := "xcaddy [build] [--output] [" + file + "] [--with] [github.com/caddyedge/caddy-edge=" + s.root() + "]"

	_, notes, err := s.run(nil, "build", "--with", "example.com/a@v1=./x")
	require.NoError(t, err)
	require.Equal(t, []string{call + " [--with] [example.com/a@v1=./x]", "CGO_ENABLED= GOWORK= CADDY_VERSION=" + caddy}, notes)
	_, notes, err = s.run([]string{"CADDY_VERSION=v2.12.0"}, "build")
	require.NoError(t, err)
	require.Equal(t, []string{call, "CGO_ENABLED= GOWORK= CADDY_VERSION=v2.12.0"}, notes)

	out, notes, err := s.run([]string{"STUB_FAIL=xcaddy"}, "build")
	require.NoError(t, err)
	require.Contains(t, out, "xcaddy did not succeed; building with go alone")
	require.Contains(t, notes, "go [mod] [init] [caddy]")
}

func TestScriptRefuses(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	_, port, err := net.SplitHostPort(busy.Addr().String())
	require.NoError(t, err)
	ports := func(which string) []string {
		var vars []string
		for _, name := range []string{"EDGE_HTTP_PORT", "EDGE_HTTPS_PORT", "EDGE_ORIGIN_PORT", "CADDY_ADMIN"} {
			value := fmt.Sprint(harness.FreePort(t))
			if name == which {
				value = port
			}
			if name == "CADDY_ADMIN" {
				value = "127.0.0.1:" + value
			}
			vars = append(vars, name+"="+value)
		}
		return vars
	}
	for _, test := range []struct {
		name       string
		stubs      []string
		vars, args []string
		want       string
	}{
		{"no Go", nil, nil, []string{"build"}, "xcaddy.sh: no Go found: install Go from https://go.dev/dl/ or name it with XCADDY_WHICH_GO\n"},
		{"no Go of that name", []string{"go"}, []string{"XCADDY_WHICH_GO=go7"}, []string{"build"}, "no Go found"},
		{"an old Go", []string{"go"}, []string{"STUB_VERSION=go1.9.2"}, []string{"build"}, "xcaddy.sh: Go is too old: 1.9.2 is installed, 1.26"},
		{"a build that fails", []string{"go"}, []string{"STUB_FAIL=go"}, []string{"build"}, "Building"},
		{"an option that is none", []string{"go"}, nil, []string{"build", "--frob", "x"}, "build: unknown option --frob"},
		{"with without a module", []string{"go"}, nil, []string{"build", "--with"}, "--with needs a module"},
		{"no such directory", []string{"go"}, nil, []string{"build", "--with", "example.com/a=./none"}, "--with example.com/a: no directory ./none"},
		{"no such command", nil, nil, []string{"biuld"}, "unknown command biuld"},
		{"no such Caddyfile", nil, nil, []string{"run", "none.Caddyfile"}, "run: no file none.Caddyfile"},
		{"port of HTTP", nil, ports("EDGE_HTTP_PORT"), []string{"run"}, "xcaddy.sh: port " + port + " is in use: stop what listens there"},
		{"port of HTTPS", nil, ports("EDGE_HTTPS_PORT"), []string{"run"}, "port " + port + " is in use"},
		{"port of the origin", nil, ports("EDGE_ORIGIN_PORT"), []string{"run"}, "port " + port + " is in use"},
		{"port of the admin endpoint", nil, ports("CADDY_ADMIN"), []string{"run"}, "port " + port + " is in use"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t, test.stubs...)
			out, _, err := s.run(test.vars, test.args...)
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 1, exit.ExitCode())
			require.Contains(t, out, test.want)
			require.NoFileExists(t, filepath.Join(s.dir, "caddy"))
		})
	}
}

// safeBuffer takes the output of a process while it runs.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// The demo starts, answers at every URL that it prints as it says, and ends when it is
// told so at its terminal.
func TestScriptRunsTheDemo(t *testing.T) {
	t.Parallel()
	s := newScript(t, "go")
	s.vars = append(s.vars, "STUB_BINARY="+harness.Binary(t), "GORACE=atexit_sleep_ms=10")
	admin := fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t))
	web, secure := harness.FreePort(t), harness.FreePort(t)
	cmd := s.command([]string{
		"CADDY_ADMIN=" + admin, fmt.Sprintf("EDGE_HTTP_PORT=%d", web), fmt.Sprintf("EDGE_HTTPS_PORT=%d", secure),
		fmt.Sprintf("EDGE_ORIGIN_PORT=%d", harness.FreePort(t)),
	}, "run")
	var out safeBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell does it
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	group := func(signal syscall.Signal) error { return syscall.Kill(-cmd.Process.Pid, signal) }
	t.Cleanup(func() {
		if group(syscall.SIGKILL) == nil {
			<-ended
		}
	})
	poll(t, "the demo is ready", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the demo ended: %v\n%s", err, out.String())
		default:
		}
		return strings.Contains(out.String(), "Ctrl-C stops it.")
	})

	config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // as curl -k does
	usual := &http.Client{Timeout: limit, Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableCompression: true}}
	quic := &http3.Transport{TLSClientConfig: config, DisableCompression: true}
	defer quic.Close()
	defer usual.CloseIdleConnections()
	ask := func(url, command string) (status int, proto, cache, body string) {
		t.Helper()
		method, content := http.MethodGet, ""
		if _, data, ok := strings.Cut(command, "-d '"); ok {
			method = http.MethodPost
			content, _, _ = strings.Cut(data, "'")
		}
		if !strings.Contains(url, "://") {
			url = "http://" + url
		}
		client := usual
		if strings.Contains(command, "--http3-only") {
			client = &http.Client{Timeout: limit, Transport: quic}
		}
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(content))
		require.NoError(t, err)
		if content != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := client.Do(req)
		require.NoError(t, err, command)
		defer resp.Body.Close()
		read, err := io.ReadAll(resp.Body)
		require.NoError(t, err, command)
		return resp.StatusCode, resp.Proto, resp.Header.Get("Cache-Status"), string(read)
	}
	lines := regexp.MustCompile(`(?m)^  (?:time )?(curl .*?(\S*(?:localhost|127\.0\.0\.1):\d+\S*).*)$`).FindAllStringSubmatch(out.String(), -1)
	require.Len(t, lines, strings.Count(out.String(), "\n  "), "each line is one to try:\n%s", out.String())
	type told struct {
		status             int
		proto, cache, body string
	}
	got := make(map[string]told)
	for _, line := range lines {
		_, path, _ := strings.Cut(line[2][strings.Index(line[2], "://")+3:], "/")
		if strings.Contains(line[1], "--http3") {
			path = "h3"
		} else if strings.HasPrefix(line[2], "https") {
			path = "h2"
		}
		status, proto, cache, body := ask(line[2], line[1])
		got["/"+path] = told{status, proto, cache, body}
	}
	for path, want := range map[string]told{
		"/":                      {200, "HTTP/1.1", "stored", "<html"},
		"/assets/clock.svg":      {200, "HTTP/1.1", "stored", "<svg"},
		"/api/clocks":            {200, "HTTP/1.1", "stored", `{"clocks":[`},
		"/slow":                  {200, "HTTP/1.1", "stored", "<html"},
		"/basket":                {200, "HTTP/1.1", "fwd=uri-miss; detail=", "<html"},
		"/broken":                {503, "HTTP/1.1", "fwd=uri-miss; detail=", "<html"},
		"/a/../b":                {400, "HTTP/1.1", "", ""},
		"/h2":                    {200, "HTTP/2.0", "stored", "<html"},
		"/h3":                    {200, "HTTP/3.0", "edge; hit", "<html"},
		"/?q=%3Cscript%3E":       {403, "HTTP/1.1", "", `"rule_id":"941`},
		"/edge/waf/events":       {200, "HTTP/1.1", "", "941"},
		"/edge/breaker/backends": {200, "HTTP/1.1", "", "closed"},
		"/edge/cache/keys":       {200, "HTTP/1.1", "", "clock.svg"},
		"/edge/cache/purge":      {200, "HTTP/1.1", "", `{"deleted":true`},
	} {
		require.Contains(t, got, path)
		g := got[path]
		require.Equal(t, want.status, g.status, path)
		require.Equal(t, want.proto, g.proto, path)
		require.Contains(t, g.cache, want.cache, path)
		require.Contains(t, g.body, want.body, path)
		delete(got, path)
	}
	require.Empty(t, got, "nothing else is printed")
	url := fmt.Sprintf("http://localhost:%d/", web)
	for _, want := range []string{"fwd=uri-miss; stored", "edge; hit"} { // it was purged
		_, _, cache, _ := ask(url, "")
		require.Contains(t, cache, want)
	}

	require.NoError(t, group(syscall.SIGINT))
	select {
	case err := <-ended:
		ended <- nil
		require.NoError(t, err, out.String())
	case <-time.After(limit):
		t.Fatalf("it does not end; its output:\n%s", out.String())
	}
	require.NotContains(t, out.String(), "DATA RACE")
	require.ErrorIs(t, group(0), syscall.ESRCH, "nothing of it runs any more")
	conn, err := new(net.Dialer).DialContext(context.WithoutCancel(t.Context()), "tcp", admin)
	if err == nil {
		conn.Close()
	}
	require.Error(t, err)
}
