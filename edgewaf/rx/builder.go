package rx

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
)

// A state is the set of instructions that the automaton may be at between two characters.
// Assertions about the character before are settled; those about the one behind stay in
// the set as instructions, and with them what they need to know of the one before.
//
// The key of a state is that kind in one byte, and the instructions in order in two each.

// builder works out states. It is guarded by the mutex of its Regexp.
type builder struct {
	*program
	// restarts says that a match may begin behind the beginning of the text.
	restarts bool
	// seen has for each instruction the last round in which it was looked at.
	seen  []uint32
	round uint32
	stack []uint16
	kept  []uint16
	// matched says that the round has come to the end of the expression.
	matched bool
	// taking are the instructions that may take the next character.
	taking []uint16
	// key is where results are left.
	key []byte
}

// These are results in place of the key of a state.
const (
	unknown uint32 = iota
	dead
	match
	// firstState is the id of the first state.
	firstState = 4
)

const before = syntax.EmptyBeginLine | syntax.EmptyBeginText

func newBuilder(p *program) *builder {
	b := &builder{program: p, seen: make([]uint32, len(p.insts))}
	for _, k := range []kind{kindOther, kindWord, kindNewline} {
		b.begin(k)
		b.restarts = b.restarts || len(b.kept) > 0
	}
	return b
}

// begin works out where a match may begin behind a character of some kind.
func (b *builder) begin(k kind) uint32 {
	b.clear()
	b.follow(b.start, before, syntax.EmptyOpContext(sample[k], sample[kindOther]))
	return b.finish(k)
}

// step works out the state behind a state and a character. It returns dead, match, or
// unknown, and then the key is in b.key.
func (b *builder) step(state string, class uint32) uint32 {
	kindBefore, kindBehind := kind(state[0]), b.classes.kind[class]
	holds := syntax.EmptyOpContext(sample[kindBefore], sample[kindBehind])
	b.clear()
	for i := 1; i < len(state); i += 2 {
		b.follow(uint16(state[i])|uint16(state[i+1])<<8, ^syntax.EmptyOp(0), holds)
	}
	if b.matched {
		return match
	}
	if int(class) == b.classes.n {
		return dead
	}
	b.taking, b.kept = b.kept, b.taking
	b.clear()
	holds = syntax.EmptyOpContext(sample[kindBehind], sample[kindOther])
	for _, pc := range b.taking {
		if i := &b.insts[pc]; b.takes(i.set, class) {
			b.follow(i.out, before, holds)
		}
	}
	b.follow(b.start, before, holds)
	return b.finish(kindBehind)
}

func (b *builder) clear() {
	b.kept, b.matched = b.kept[:0], false
	if b.round++; b.round == 0 {
		clear(b.seen)
		b.round = 1
	}
}

// follow adds what is reached from an instruction without a character, where of the
// known conditions those in holds do hold.
func (b *builder) follow(pc uint16, known, holds syntax.EmptyOp) {
	b.stack = append(b.stack[:0], pc)
	for len(b.stack) > 0 {
		pc := b.stack[len(b.stack)-1]
		b.stack = b.stack[:len(b.stack)-1]
		if b.seen[pc] == b.round {
			continue
		}
		b.seen[pc] = b.round
		switch i := &b.insts[pc]; i.op {
		case opFail:
		case opMatch:
			b.matched = true
		case opGo:
			b.stack = append(b.stack, i.out)
		case opFork:
			b.stack = append(b.stack, i.arg, i.out)
		case opAssert:
			if i.cond&known&^holds != 0 {
				continue
			}
			if i.cond&^known == 0 {
				b.stack = append(b.stack, i.out)
			} else {
				b.kept = append(b.kept, pc)
			}
		case opRunes:
			b.kept = append(b.kept, pc)
		}
	}
}

// finish makes the key of what was kept behind a character of some kind.
func (b *builder) finish(k kind) uint32 {
	switch {
	case b.matched:
		return match
	case len(b.kept) == 0 && !b.restarts:
		return dead
	}
	slices.Sort(b.kept)
	var reach syntax.EmptyOp
	b.key = append(b.key[:0], 0)
	for _, pc := range b.kept {
		reach |= b.insts[pc].reach
		b.key = binary.LittleEndian.AppendUint16(b.key, pc)
	}
	b.key[0] = byte(distinct(k, reach))
	return unknown
}

// distinct returns the one kind that stands for all that some conditions don't tell apart.
func distinct(k kind, conditions syntax.EmptyOp) kind {
	switch {
	case k == kindEdge && conditions&syntax.EmptyBeginText != 0:
		return kindEdge
	case (k == kindEdge || k == kindNewline) && conditions&syntax.EmptyBeginLine != 0:
		return kindNewline
	case k == kindWord && conditions&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0:
		return kindWord
	}
	return kindOther
}
