#!/usr/bin/env bash
# Builds, runs and tests Caddy with the edge modules. Needs bash, coreutils and Go.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly root
readonly module=github.com/caddyedge/caddy-edge
readonly linter=v2.15.0
go=${XCADDY_WHICH_GO:-go}
temp= # removed at exit
pids=() # stopped at exit

usage() {
	cat <<'TEXT'
Usage: ./xcaddy.sh COMMAND

  build [-o FILE] [--with MODULE[@VERSION][=PATH]]...
        Builds the binary, ./caddy unless FILE is given, with more modules.
  run [CADDYFILE]
        Builds and runs a Caddyfile, or the demo on ports 8080 and 8443 of
        loopback, its origin on 8090, the admin endpoint on 2019. Others are
        EDGE_HTTP_PORT, EDGE_HTTPS_PORT, EDGE_ORIGIN_PORT and CADDY_ADMIN.
  test  Builds, vets, lints, and runs all tests with the race detector, and some
        that would take too long with it without.
  bench [-short] [NAME]...
        Runs benchmarks of the whole server: those of a group (cache, limit, breaker,
        waf, tunnel), single ones by name (hit-1k), or all. bench -h lists them.
  conformance [-o DIR] SUITE_DIR
        Runs the suite of a checkout of http-tests/cache-tests, whose npm
        packages are installed, and fails when fewer tests pass than must.
        DIR keeps the results. Needs node.
  help  Prints this text.

Environment of build and run, as xcaddy has it: CADDY_VERSION (default: that of
go.mod), XCADDY_WHICH_GO, XCADDY_GO_BUILD_FLAGS (in place of the default flags),
XCADDY_RACE_DETECTOR=1, XCADDY_DEBUG=1 (for a debugger). xcaddy itself is used
where it is on PATH.
TEXT
}

say() { printf '%s\n' "$*" >&2; }
die() {
	say "xcaddy.sh: $*"
	exit 1
}

cleanup() {
	local pid
	for pid in ${pids[@]+"${pids[@]}"}; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	[[ -z $temp ]] || rm -rf -- "$temp"
}
trap cleanup EXIT

make_temp() { [[ -n $temp ]] || temp=$(mktemp -d "${TMPDIR:-/tmp}/caddy-edge.XXXXXX"); }

# require_go ends the script unless there is a Go as new as go.mod wants, or one
# that fetches such a toolchain by itself.
require_go() {
	command -v "$go" >/dev/null || die "no Go found: install Go from https://go.dev/dl/ or name it with XCADDY_WHICH_GO"
	local want have
	want=$(go_mod_word go)
	if ! have=$(cd "$root" && "$go" env GOVERSION 2>/dev/null) || older "${have#go}" "$want"; then
		have=$(cd / && GOTOOLCHAIN=local "$go" env GOVERSION)
		die "Go is too old: ${have#go} is installed, $want or newer is needed"
	fi
}

# go_mod_word prints the second word of the line of go.mod that starts with $1.
go_mod_word() {
	local first second rest
	while read -r first second rest; do
		if [[ $first == "$1" ]]; then
			printf '%s\n' "$second"
			return
		fi
	done <"$root/go.mod"
}

# older reports whether version $1 comes before $2.
older() { [[ $1 != "$2" && $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }

# need ends the script unless command $1 is there; as root it first tries to
# install the Debian packages that follow.
need() {
	local command=$1
	shift
	command -v "$command" >/dev/null && return
	if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
		say "Installing $*"
		apt-get install --yes --no-install-recommends "$@" >&2 || { apt-get update >&2 && apt-get install --yes --no-install-recommends "$@" >&2; } || true
	fi
	command -v "$command" >/dev/null || die "$command is missing: install the package $*"
}

# build_binary builds file $1 with the --with arguments that follow.
build_binary() {
	local output=$1
	shift
	require_go
	mkdir -p -- "$(dirname -- "$output")"
	output=$(cd -- "$(dirname -- "$output")" && pwd)/$(basename -- "$output")
	if command -v xcaddy >/dev/null; then
		build_with_xcaddy "$output" "$@" && return
		say "xcaddy did not succeed; building with go alone"
	fi
	build_with_go "$output" "$@"
}

build_with_xcaddy() {
	local output=$1 with args=()
	shift
	for with in "$@"; do args+=(--with "$with"); done
	CADDY_VERSION=${CADDY_VERSION:-$(go_mod_word github.com/caddyserver/caddy/v2)} \
		xcaddy build --output "$output" --with "$module=$root" ${args[@]+"${args[@]}"} >&2
}

# build_with_go does what xcaddy does: the main package lies in a module of its
# own that names what goes in. That costs no more than building cmd/caddy, and the
# binary reports the same modules as one made by xcaddy.
build_with_go() {
	local output=$1 with path version replacement given
	local imports=("$module") gets=() edits=("-replace=$module=$root" "-require=$module@v0.0.0")
	shift
	for with in "$@"; do
		replacement=
		[[ $with == *=* ]] && replacement=${with#*=} && with=${with%%=*}
		version=
		[[ $with == *@* ]] && version=@${with##*@} && with=${with%@*}
		path=$with
		[[ -n $path ]] || die "--with needs a module"
		imports+=("$path")
		if [[ -n $replacement ]]; then
			given=$replacement
			[[ $replacement != .* ]] || replacement=$(cd -- "$replacement" 2>/dev/null && pwd) || die "--with $path: no directory $given"
			edits+=("-replace=$path=$replacement")
			[[ -n $version ]] || edits+=("-require=$path@v0.0.0")
		fi
		[[ -n $replacement && -z $version ]] || gets+=("$path$version")
	done
	[[ -z ${CADDY_VERSION:-} ]] || gets+=("github.com/caddyserver/caddy/v2@$CADDY_VERSION")

	make_temp
	local work=$temp/build
	mkdir -p "$work"
	{
		printf 'package main\n\nimport (\n\t_ "time/tzdata"\n\n'
		printf '\tcaddycmd "github.com/caddyserver/caddy/v2/cmd"\n\n'
		printf '\t_ "github.com/caddyserver/caddy/v2/modules/standard"\n\n'
		printf '\t_ "%s"\n' "${imports[@]}"
		printf ')\n\nfunc main() { caddycmd.Main() }\n'
	} >"$work/main.go"
	cp "$root/go.sum" "$work/"

	local flags=() cgo=0
	read -ra flags <<<"${XCADDY_GO_BUILD_FLAGS:-}"
	if [[ ${XCADDY_DEBUG:-} == 1 ]]; then
		flags+=(-gcflags 'all=-N -l')
	elif [[ -z ${XCADDY_GO_BUILD_FLAGS:-} ]]; then
		flags+=(-trimpath -ldflags '-w -s' -tags nobadger,nomysql,nopgx)
	fi
	[[ ${XCADDY_RACE_DETECTOR:-} != 1 ]] || { cgo=1 && flags+=(-race); }
	(
		cd "$work"
		export GOWORK=off
		"$go" mod init caddy 2>/dev/null
		"$go" mod edit "${edits[@]}"
		[[ ${#gets[@]} == 0 ]] || "$go" get "${gets[@]}"
		CGO_ENABLED=$cgo "$go" build -mod=mod -o "$output" "${flags[@]}" .
	) >&2
}

cmd_build() {
	local output=$PWD/caddy with=()
	while (($# > 0)); do
		case $1 in
		-o | --output)
			(($# > 1)) || die "$1 needs a file name"
			output=$2
			shift 2
			;;
		--with)
			(($# > 1)) || die "--with needs a module"
			with+=("$2")
			shift 2
			;;
		*) die "build: unknown option $1 (see ./xcaddy.sh help)" ;;
		esac
	done
	say "Building $output; the first time this takes some minutes"
	build_binary "$output" ${with[@]+"${with[@]}"}
	say "Built $output"
}

is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

cmd_run() {
	(($# <= 1)) || die "run takes one Caddyfile at most"
	local file=${1:-$root/caddyfile/demo/Caddyfile} cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/caddy-edge port
	[[ -f $file ]] || die "run: no file $file"
	if (($# == 0)); then
		export EDGE_HTTP_PORT=${EDGE_HTTP_PORT:-8080} EDGE_HTTPS_PORT=${EDGE_HTTPS_PORT:-8443} EDGE_ORIGIN_PORT=${EDGE_ORIGIN_PORT:-8090}
		export CADDY_ADMIN=${CADDY_ADMIN:-localhost:2019}
		for port in "${CADDY_ADMIN##*:}" "$EDGE_HTTP_PORT" "$EDGE_ORIGIN_PORT" "$EDGE_HTTPS_PORT"; do
			! is_open "$port" || die "port $port is in use: stop what listens there, name other ports (see ./xcaddy.sh help), or run a Caddyfile of your own"
		done
		export XDG_DATA_HOME=$cache/demo XDG_CONFIG_HOME=$cache/demo
		export EDGE_DEMO=$root/caddyfile/demo
		# Linux says here whether loopback has IPv6.
		[[ ! -d /proc/net ]] || grep -qs ' lo$' /proc/net/if_inet6 || export EDGE_DEMO_BIND=127.0.0.1
	fi
	[[ -x $cache/caddy ]] || say "Building; the first time this takes some minutes"
	build_binary "$cache/caddy"

	"$cache/caddy" run --config "$file" --adapter caddyfile &
	local pid=$! status=0
	trap 'kill -TERM "$pid" 2>/dev/null || true' INT TERM
	(($# > 0)) || announce "$pid"
	# A trapped signal ends wait before the process ends.
	while kill -0 "$pid" 2>/dev/null; do
		status=0
		wait "$pid" || status=$?
	done
	exit "$status"
}

# announce prints what to try as soon as process $1 serves the demo.
announce() {
	until is_open "$EDGE_HTTP_PORT"; do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.1
	done
	local text
	text=$(<"$root/caddyfile/demo/welcome.txt")
	text=${text//'{http}'/"$EDGE_HTTP_PORT"}
	text=${text//'{https}'/"$EDGE_HTTPS_PORT"}
	text=${text//'{origin}'/"$EDGE_ORIGIN_PORT"}
	text=${text//'{admin}'/"$CADDY_ADMIN"}
	printf '%s\n\n' "$text"
}

cmd_test() {
	(($# == 0)) || die "test takes no arguments"
	require_go
	# The race detector is C code.
	need "$(cd "$root" && "$go" env CC)" gcc libc6-dev
	# The tests of shared limits start a server of their own.
	command -v valkey-server >/dev/null || need redis-server redis-server
	cd "$root"
	say "== build" && "$go" build ./...
	say "== vet" && "$go" vet ./...
	say "== lint" && lint
	say "== test" && "$go" test -race -timeout 20m ./...
	# Thousands of requests, and figures about memory: not for the race detector.
	say "== test without the race detector" && "$go" test -timeout 10m -run '^Test(Regression|Memory|Detection)' ./edgewaf ./edgewaf/crs ./integration
}

# lint runs the pinned linter, which is no dependency of the module.
lint() {
	if command -v golangci-lint >/dev/null && [[ $(golangci-lint version --short) == "${linter#v}" ]]; then
		golangci-lint run ./...
	else
		"$go" run "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$linter" run ./...
	fi
}

cmd_bench() {
	require_go
	cd "$root"
	exec "$go" run ./integration/bench "$@"
}

cmd_conformance() {
	local out='' dir
	if [[ ${1:-} == -o ]]; then
		(($# > 1)) || die "-o needs a directory"
		out=$2
		shift 2
	fi
	(($# == 1)) || die "conformance needs the directory of a checkout of http-tests/cache-tests"
	[[ -f $1/test-engine/cli.mjs ]] || die "conformance: $1 is no checkout of http-tests/cache-tests"
	[[ -d $1/node_modules ]] || die "conformance: run npm install in $1 first"
	dir=$(cd -- "$1" && pwd)
	need node nodejs
	make_temp
	[[ -n $out ]] || out=$temp/results
	mkdir -p -- "$out"
	out=$(cd -- "$out" && pwd)
	build_binary "$temp/caddy"

	export CONFORMANCE_ORIGIN_PORT
	CONFORMANCE_ORIGIN_PORT=$(free_port)
	(
		cd "$dir"
		npm_config_protocol=http npm_config_port=$CONFORMANCE_ORIGIN_PORT \
			npm_config_pidfile=$temp/origin.pid exec node test-engine/server/server.mjs
	) >"$temp/origin.log" 2>&1 &
	pids+=($!)
	await_port "$CONFORMANCE_ORIGIN_PORT" $! "$temp/origin.log"

	local status=0
	# The numbers are those that must pass: required, optimal.
	conformance_of default 154 85 || status=1
	conformance_of tuned 159 97 || status=1
	exit "$status"
}

# conformance_of runs the suite against one Caddyfile. It reads dir and out of its
# caller.
conformance_of() {
	local name=$1 required=$2 optimal=$3 pid
	export CONFORMANCE_PORT
	CONFORMANCE_PORT=$(free_port)
	XDG_DATA_HOME=$temp XDG_CONFIG_HOME=$temp "$temp/caddy" run --adapter caddyfile \
		--config "$root/caddyfile/conformance/$name.Caddyfile" >"$temp/$name.log" 2>&1 &
	pid=$!
	pids+=("$pid")
	await_port "$CONFORMANCE_PORT" "$pid" "$temp/$name.log"
	say "== $name"
	(
		cd "$dir"
		npm_config_base=http://127.0.0.1:$CONFORMANCE_PORT npm_config_id='' npm_package_config_id='' \
			node --no-warnings test-engine/cli.mjs
	) >"$out/$name.json" || die "the suite's client failed; see $out/$name.json"
	kill "$pid"
	wait "$pid" || true
	node "$root/integration/conformance/count.mjs" "$dir" "$out/$name.json" "$required" "$optimal"
}

free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'; }

# await_port returns when port $1 is open, or ends the script with log $3 when
# process $2 has ended.
await_port() {
	until is_open "$1"; do
		if ! kill -0 "$2" 2>/dev/null; then
			cat -- "$3" >&2
			die "a server for the conformance suite did not start"
		fi
		sleep 0.1
	done
}

case ${1:-help} in
build | run | test | bench | conformance)
	name=$1
	shift
	"cmd_$name" "$@"
	;;
help | -h | --help) usage ;;
*)
	usage >&2
	die "unknown command $1"
	;;
esac
