package integration

import (
	"os"
	"testing"

	"github.com/caddyedge/caddy-edge/integration/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
