//go:build race

package rules

// Under the race detector a sync.Pool drops some of what is put into it, on purpose.
func init() { racing = true }
