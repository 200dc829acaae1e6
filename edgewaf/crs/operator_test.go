package crs

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/stretchr/testify/require"
)

// transaction keeps the fields that an operator captures.
type transaction struct {
	plugintypes.TransactionState
	capturing bool
	fields    []string
}

func (tx *transaction) Capturing() bool { return tx.capturing }

func (tx *transaction) CaptureField(i int, text string) {
	for len(tx.fields) <= i {
		tx.fields = append(tx.fields, "-")
	}
	tx.fields[i] = text
}

func newTestOperator(t *testing.T, expr string) *operator {
	t.Helper()
	op, err := newOperator(plugintypes.OperatorOptions{Arguments: expr})
	require.NoError(t, err)
	return op.(*operator)
}

func TestOperator(t *testing.T) {
	for _, test := range []struct {
		expr, value string
		want        bool
		fields      []string
	}{
		{`a(b)?(c)`, "xacx", true, []string{"ac", "", "c"}},
		{`\xe9(b)?(c)`, "x\xe9cx", true, []string{"\xe9c", "", "c"}},
		{`(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)`, "abcdefghij", true, []string{"abcdefghij", "a", "b", "c", "d", "e", "f", "g", "h"}},
		{`^b.c$`, "a\nb\nc\nd", true, []string{"b\nc"}},
		{`^b`, "a", false, nil},
		{``, "", true, []string{""}},
	} {
		op := newTestOperator(t, test.expr)
		tx := &transaction{}
		require.Equal(t, test.want, op.Evaluate(tx, test.value), test.expr)
		require.Nil(t, tx.fields)
		tx.capturing = true
		require.Equal(t, test.want, op.Evaluate(tx, test.value), test.expr)
		require.Equal(t, test.fields, tx.fields, test.expr)
	}
	_, err := newOperator(plugintypes.OperatorOptions{Arguments: "a(b"})
	require.ErrorContains(t, err, `"(?sm)a(b"`)
}

func TestOverBytes(t *testing.T) {
	for expr, want := range map[string]bool{
		`abc`: false, `\xff`: true, `\x{ff}`: true, `\x7f`: false, `\x{7f}`: false, `\xc3\xa9`: false, `é`: false,
		`\x{1F600}`: false, `\x{e9}\x{e9}`: true, `\xe`: false, `a\xf`: false, `\`: false, "\xff": true, `\x{}ab`: false, `\xzz\xff`: true,
	} {
		require.Equal(t, want, overBytes(expr), expr)
	}
}

// TestOperatorAllocations: a value without a match costs none, also when captures are wanted.
func TestOperatorAllocations(t *testing.T) {
	op := newTestOperator(t, `(?i)\bunion\s+select\b`)
	for _, capturing := range []bool{false, true} {
		var tx plugintypes.TransactionState = &transaction{capturing: capturing}
		require.Zero(t, testing.AllocsPerRun(100, func() { op.Evaluate(tx, "the union of those that select") }))
	}
}

func inUse(e expression) bool {
	automata.Lock()
	defer automata.Unlock()
	_, ok := automata.used[e]
	return ok
}

// TestAutomataAreShared: rules with the same expression have one automaton, and it is freed
// with the last of them.
func TestAutomataAreShared(t *testing.T) {
	const text = `only (in|of) this test`
	e := expression{text: "(?sm)" + text}
	op := newTestOperator(t, text)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			other, err := newOperator(plugintypes.OperatorOptions{Arguments: text})
			if err != nil || other.(*operator).expr != op.expr {
				t.Error("not the same automaton")
			}
		})
	}
	group.Wait()
	for range 3 {
		runtime.GC()
	}
	require.True(t, inUse(e))
	require.Same(t, op.expr, newTestOperator(t, text).expr)
	runtime.KeepAlive(op)

	op = nil
	require.Eventually(t, func() bool {
		runtime.GC()
		return !inUse(e)
	}, 10*time.Second, time.Millisecond)
	require.NotNil(t, newTestOperator(t, text))
}

// TestBytesAreNotShared: the same text over bytes is another expression.
func TestBytesAreNotShared(t *testing.T) {
	a, err := expression{text: `(?sm)a`}.compiled()
	require.NoError(t, err)
	b, err := expression{text: `(?sm)a`, bytes: true}.compiled()
	require.NoError(t, err)
	require.NotSame(t, a, b)
}
