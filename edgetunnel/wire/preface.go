package wire

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// Preface is what each stream begins with, in front of the request.
type Preface struct {
	// Backend is who the request is for.
	Backend string
	// Client is the address of the client, if it is known.
	Client netip.AddrPort
}

// Append adds the preface to b: each of its two parts has its length in one byte in
// front.
func (p Preface) Append(b []byte) []byte {
	b = append(b, byte(len(p.Backend)))
	b = append(b, p.Backend...)
	if !p.Client.IsValid() {
		return append(b, 0)
	}
	at := len(b)
	b = p.Client.AppendTo(append(b, 0))
	b[at] = byte(len(b) - at - 1)
	return b
}

// ReadPreface reads a preface, and nothing beyond it.
func ReadPreface(r io.Reader) (p Preface, err error) {
	backend, err := readText(r)
	if err != nil {
		return p, fmt.Errorf("reading the name of the backend: %w", err)
	}
	p.Backend = string(backend)
	if err := CheckName(p.Backend); err != nil {
		return p, err
	}
	client, err := readText(r)
	if err != nil {
		return p, fmt.Errorf("reading the client's address: %w", err)
	}
	if len(client) == 0 {
		return p, nil
	}
	if p.Client, err = netip.ParseAddrPort(string(client)); err != nil {
		return p, errors.New("invalid address of a client")
	}
	return p, nil
}

func readText(r io.Reader) ([]byte, error) {
	var b [256]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return nil, err
	}
	text := b[1 : 1+int(b[0])]
	_, err := io.ReadFull(r, text)
	return text, err
}
