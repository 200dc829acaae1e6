package crs

import (
	"fmt"
	"strings"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	ahocorasick "github.com/petar-dambovaliev/aho-corasick"
)

// dataset is the operator @pmFromDataset. The engine's own keeps the words of a dataset by
// its name, over all rule sets, so that one would get those of another.
type dataset struct{ words ahocorasick.AhoCorasick }

func newDataset(options plugintypes.OperatorOptions) (plugintypes.Operator, error) {
	list, ok := options.Datasets[options.Arguments]
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("dataset %q not found", options.Arguments)
	}
	words := make([]string, len(list))
	for i, word := range list {
		words[i] = strings.ToLower(word)
	}
	builder := ahocorasick.NewAhoCorasickBuilder(ahocorasick.Opts{
		AsciiCaseInsensitive: true, MatchKind: ahocorasick.LeftMostLongestMatch,
	})
	return &dataset{builder.Build(words)}, nil
}

// maxWords is how many words the engine looks for when they are captured.
const maxWords = 10

// Evaluate reports whether the value has one of the words.
func (o *dataset) Evaluate(tx plugintypes.TransactionState, value string) bool {
	found := o.words.Iter(value)
	if !tx.Capturing() {
		return found.Next() != nil
	}
	n := 0
	for m := found.Next(); m != nil && n < maxWords; m = found.Next() {
		tx.CaptureField(n, value[m.Start():m.End()])
		n++
	}
	return n > 0
}
