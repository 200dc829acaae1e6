package access

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
)

// MaxDatabaseSize is the most that a database may have, in bytes.
const MaxDatabaseSize = 1 << 30

// Database gives the network or the country of an address. It holds the whole file
// in memory, so that the file may be overwritten while it is used.
type Database struct {
	reader *maxminddb.Reader
}

// ParseDatabase reads a database in MaxMind's format (version 2) and verifies it.
func ParseDatabase(content []byte) (*Database, error) {
	reader, err := maxminddb.OpenBytes(content)
	if err != nil {
		return nil, fmt.Errorf("reading the database: %w", err)
	}
	if err := reader.Verify(); err != nil {
		return nil, fmt.Errorf("verifying the database: %w", err)
	}
	return &Database{reader}, nil
}

// Type returns what the database calls itself, such as GeoLite2-ASN.
func (d *Database) Type() string { return d.reader.Metadata.DatabaseType }

// Nodes returns how many nodes the search tree has.
func (d *Database) Nodes() int { return int(d.reader.Metadata.NodeCount) }

// ASN returns the number of the autonomous system that announces an address, 0 if it
// is not known: the field autonomous_system_number.
func (d *Database) ASN(a netip.Addr) uint32 {
	var n uint32
	if d == nil || d.reader.Lookup(a).DecodePath(&n, "autonomous_system_number") != nil {
		return 0
	}
	return n
}

// Country returns the ISO 3166-1 code of an address, in upper case, empty if it is
// not known: the field country.iso_code.
func (d *Database) Country(a netip.Addr) string {
	var code string
	if d == nil || d.reader.Lookup(a).DecodePath(&code, "country", "iso_code") != nil {
		return ""
	}
	return strings.ToUpper(code)
}

// ParseASN reads the number of an autonomous system, such as 64500 or AS64500.
func ParseASN(s string) (uint32, error) {
	digits := s
	if len(s) > 2 && strings.EqualFold(s[:2], "AS") {
		digits = s[2:]
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("invalid ASN %q: want a number such as 64500 or AS64500", s)
	}
	return uint32(n), nil
}

// ParseCountry reads an ISO 3166-1 code of two letters, in any case.
func ParseCountry(s string) (string, error) {
	upper := strings.ToUpper(s)
	if len(s) != 2 || strings.Trim(upper, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return "", fmt.Errorf("invalid country %q: want an ISO code of two letters", s)
	}
	return upper, nil
}
