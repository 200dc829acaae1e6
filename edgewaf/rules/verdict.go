package rules

// Verdict is what is to be done with a request or a response.
type Verdict struct {
	// Block is the rule that refuses it, with its Status, or nil.
	Block *Rule
	// Would is the first rule that would have refused or limited it, were it not in
	// shadow mode, or nil.
	Would *Rule
	// Allow is the first rule that spared it something, or nil.
	Allow *Rule
	// BypassCache is the first rule that keeps the cache out of it, or nil.
	BypassCache *Rule
	// Limits are the rules by whose zones it is limited.
	Limits []*Rule
}

// Decide makes a verdict of the matches of a phase, in the order in which they were
// found. Mode gives the mode of a rule; nil takes the rules' own.
//
// A rule that allows spares the request the rules behind it in its pack that block or
// limit. It has no power over what is in front of it or in other packs, so that a pack
// can't take the protection of another away. A rule that allows in shadow mode spares it
// only what is in shadow mode itself. A log or a bypass_cache is never hidden by anything,
// and hides nothing.
func Decide(matches []Match, mode func(*Rule) Mode) (v Verdict) {
	var (
		pack *Pack
		// The rules of the pack that have allowed it, in force and at all.
		allowed, wouldAllow *Rule
	)
	for _, m := range matches {
		r := m.Rule
		if r.Pack != pack {
			pack, allowed, wouldAllow = r.Pack, nil, nil
		}
		is := r.Mode
		if mode != nil {
			is = mode(r)
		}
		switch r.Action {
		case Log:
		case BypassCache:
			v.BypassCache = first(v.BypassCache, r)
		case Allow:
			wouldAllow = first(wouldAllow, r)
			if is == Enforce {
				allowed = first(allowed, r)
			}
		case Block, Limit:
			switch {
			case is == Shadow && wouldAllow == nil:
				v.Would = first(v.Would, r)
			case is == Shadow:
			case allowed != nil:
				v.Allow = first(v.Allow, allowed)
			case r.Action == Limit:
				v.Limits = append(v.Limits, r)
			default:
				v.Block = first(v.Block, r)
			}
		}
	}
	return v
}

// first returns the rule that came first.
func first(before, r *Rule) *Rule {
	if before != nil {
		return before
	}
	return r
}
