package rx

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"unicode"

	binsyntax "rsc.io/binaryregexp/syntax"
)

// program is an expression as instructions of a nondeterministic automaton.
type program struct {
	insts []inst
	start uint16
	// conditions are all assertions that occur.
	conditions syntax.EmptyOp
	classes    classes
	// member says which sets have which classes: words 64-bit words for each set.
	member []uint64
	words  int
	// keep is how many instructions may be in a state.
	keep int
}

type op uint8

const (
	opFail op = iota
	opMatch
	// opGo continues at out, opFork at both.
	opGo
	opFork
	// opAssert continues at out where conditions hold.
	opAssert
	// opRunes takes a rune of a set.
	opRunes
)

type inst struct {
	op   op
	cond syntax.EmptyOp
	// reach are the conditions of an opAssert and of all that follow before a rune.
	reach    syntax.EmptyOp
	out, arg uint16
	set      int
}

const (
	// Instructions are 16-bit numbers in states.
	maxInsts = 1 << 16
	// More classes than that make tables which hardly fit anywhere.
	maxClasses = 4096
)

// newProgram returns nil for what is too large.
func newProgram(code *syntax.Prog, bytes bool) *program {
	if len(code.Inst) > maxInsts {
		return nil
	}
	p := &program{insts: make([]inst, len(code.Inst)), start: uint16(code.Start)}
	last := rune(unicode.MaxRune)
	if bytes {
		last = 0xFF
	}
	var sets [][]rune
	numbers := make(map[string]int)
	for pc := range code.Inst {
		from, to := &code.Inst[pc], &p.insts[pc]
		to.out, to.arg = uint16(from.Out), uint16(from.Arg)
		switch from.Op {
		case syntax.InstFail:
			to.op = opFail
		case syntax.InstMatch:
			to.op = opMatch
			p.keep++
		case syntax.InstNop, syntax.InstCapture:
			to.op = opGo
		case syntax.InstAlt, syntax.InstAltMatch:
			to.op = opFork
		case syntax.InstEmptyWidth:
			to.op, to.cond = opAssert, syntax.EmptyOp(from.Arg)
			p.conditions |= to.cond
			p.keep++
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			set := runes(from, last)
			name := setName(set)
			number, known := numbers[name]
			if !known {
				number = len(sets)
				numbers[name] = number
				sets = append(sets, set)
			}
			to.op, to.set = opRunes, number
			p.keep++
		default:
			// A kind of a later version of Go.
			return nil
		}
	}
	p.findReach()
	if !p.classes.divide(sets, p.conditions, last, bytes) {
		return nil
	}
	p.words = (p.classes.n + 63) / 64
	p.member = make([]uint64, len(sets)*p.words)
	for i, set := range sets {
		for class, r := range p.classes.example {
			if contains(set, r) {
				p.member[i*p.words+class/64] |= 1 << (class % 64)
			}
		}
	}
	return p
}

// takes reports whether a set has a class.
func (p *program) takes(set int, class uint32) bool {
	return p.member[set*p.words+int(class/64)]>>(class%64)&1 != 0
}

// findReach goes over the instructions until nothing changes. Most programs run forward,
// so that going backwards takes two or three rounds.
func (p *program) findReach() {
	if p.conditions == 0 {
		return
	}
	for changed := true; changed; {
		changed = false
		for pc := len(p.insts) - 1; pc >= 0; pc-- {
			i := &p.insts[pc]
			reach := i.cond
			switch i.op {
			case opFork:
				reach |= p.insts[i.out].reach | p.insts[i.arg].reach
			case opGo, opAssert:
				reach |= p.insts[i.out].reach
			default:
			}
			if reach != i.reach {
				i.reach, changed = reach, true
			}
		}
	}
}

// runes returns what an instruction takes as pairs of first and last rune, in order.
func runes(i *syntax.Inst, last rune) []rune {
	var set []rune
	switch {
	case i.Op == syntax.InstRuneAny:
		set = []rune{0, last}
	case i.Op == syntax.InstRuneAnyNotNL:
		set = []rune{0, '\n' - 1, '\n' + 1, last}
	case i.Op == syntax.InstRune1:
		set = []rune{i.Rune[0], i.Rune[0]}
	case len(i.Rune) == 1:
		set = []rune{i.Rune[0], i.Rune[0]}
		if syntax.Flags(i.Arg)&syntax.FoldCase != 0 {
			for _, r := range orbit(i.Rune[0])[1:] {
				set = append(set, r, r)
			}
			slices.Sort(set)
		}
	default:
		set = slices.Clone(i.Rune)
	}
	for n := 0; n < len(set); n += 2 {
		if set[n] > last {
			return set[:n]
		}
		set[n+1] = min(set[n+1], last)
	}
	return set
}

// orbit returns the runes that are equal to one when case does not matter, that one first.
func orbit(r rune) []rune {
	all := []rune{r}
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		all = append(all, other)
	}
	return all
}

func setName(set []rune) string {
	name := make([]byte, 0, 4*len(set))
	for _, r := range set {
		name = binary.LittleEndian.AppendUint32(name, uint32(r))
	}
	return string(name)
}

// contains reports whether pairs in order have a rune.
func contains(set []rune, r rune) bool {
	n, exact := slices.BinarySearch(set, r)
	return exact || n%2 == 1
}

// fromBinaryProg and fromBinaryTree take over what binaryregexp's copy of package syntax
// says. Its numbers are those of the original, which a test holds.

func fromBinaryProg(p *binsyntax.Prog) *syntax.Prog {
	to := &syntax.Prog{Start: p.Start, NumCap: p.NumCap, Inst: make([]syntax.Inst, len(p.Inst))}
	for pc, i := range p.Inst {
		to.Inst[pc] = syntax.Inst{Op: syntax.InstOp(i.Op), Out: i.Out, Arg: i.Arg, Rune: i.Rune}
	}
	return to
}

func fromBinaryTree(re *binsyntax.Regexp) *syntax.Regexp {
	to := &syntax.Regexp{Op: syntax.Op(re.Op), Flags: syntax.Flags(re.Flags), Rune: re.Rune, Min: re.Min, Max: re.Max}
	for _, sub := range re.Sub {
		to.Sub = append(to.Sub, fromBinaryTree(sub))
	}
	return to
}
