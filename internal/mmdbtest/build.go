// Package mmdbtest makes small databases in MaxMind's format (version 2) for tests.
package mmdbtest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// Networks are records by CIDR. Networks must not contain one another.
type Networks map[string]Record

// Record is one record: strings, uint32 and records within.
type Record map[string]any

// ASN returns the record of a network in the layout of GeoLite2-ASN.
func ASN(n uint32) Record { return Record{"autonomous_system_number": n} }

// Country returns the record of a country in the layout of GeoLite2-Country.
func Country(code string) Record { return Record{"country": Record{"iso_code": code}} }

// Build returns a database. What can't be encoded panics: it is a mistake of the test.
func Build(kind string, networks Networks) []byte {
	tree := [][2]int64{{empty, empty}}
	var data []byte
	for _, name := range sorted(networks) {
		offset := int64(len(data))
		data = encode(data, networks[name])
		tree = insert(tree, netip.MustParsePrefix(name), offset)
	}
	var out []byte
	for _, node := range tree {
		for _, to := range node {
			out = binary.BigEndian.AppendUint32(out, pointer(to, len(tree)))
		}
	}
	out = append(out, make([]byte, 16)...)
	out = append(out, data...)
	out = append(out, "\xab\xcd\xefMaxMind.com"...)
	return encode(out, Record{
		"binary_format_major_version": uint16(2),
		"binary_format_minor_version": uint16(0),
		"build_epoch":                 uint64(1_900_000_000),
		"database_type":               kind,
		"description":                 Record{"en": "test"},
		"ip_version":                  uint16(6),
		"languages":                   []string{"en"},
		"node_count":                  uint32(len(tree)),
		"record_size":                 uint16(32),
	})
}

// empty is a record of the tree that leads nowhere; negative ones are offsets of data,
// less one.
const empty = int64(0)

func pointer(to int64, nodes int) uint32 {
	switch {
	case to == empty:
		return uint32(nodes)
	case to < 0:
		return uint32(int64(nodes) + 16 - to - 1)
	}
	return uint32(to)
}

// insert adds a network. IPv4 is at ::/96.
func insert(tree [][2]int64, p netip.Prefix, offset int64) [][2]int64 {
	b, length := p.Addr().As16(), p.Bits()
	if p.Addr().Is4() {
		b[10], b[11] = 0, 0
		length += 96
	}
	at := int64(0)
	for i := range length {
		bit := b[i/8] >> (7 - i%8) & 1
		if i == length-1 {
			tree[at][bit] = -offset - 1
			break
		}
		if tree[at][bit] == empty {
			tree = append(tree, [2]int64{empty, empty})
			tree[at][bit] = int64(len(tree) - 1)
		}
		at = tree[at][bit]
		if at < 0 {
			panic(fmt.Sprintf("mmdbtest: %s is within another network", p))
		}
	}
	return tree
}

// encode appends a value of the data section.
func encode(to []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return append(control(to, 2, len(v)), v...)
	case uint16:
		return binary.BigEndian.AppendUint16(control(to, 5, 2), v)
	case uint32:
		return binary.BigEndian.AppendUint32(control(to, 6, 4), v)
	case uint64:
		return binary.BigEndian.AppendUint64(append(to, 8, 9-7), v)
	case []string:
		to = append(to, byte(len(v)), 11-7)
		for _, s := range v {
			to = encode(to, s)
		}
		return to
	case Record:
		to = control(to, 7, len(v))
		for _, name := range sorted(v) {
			to = encode(encode(to, name), v[name])
		}
		return to
	}
	panic(fmt.Sprintf("mmdbtest: can't encode a %T", v))
}

func control(to []byte, kind byte, size int) []byte {
	switch {
	case size < 29:
		return append(to, kind<<5|byte(size))
	case size < 29+256:
		return append(to, kind<<5|29, byte(size-29))
	}
	panic("mmdbtest: too long a value")
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
