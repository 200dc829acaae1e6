package redistest

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// ReplyError is an error that the server answered with, such as "ERR syntax error".
type ReplyError string

// Error is what the server said.
func (r ReplyError) Error() string { return fmt.Sprintf("the server says %q", string(r)) }

func (r ReplyError) wantsPassword() bool { return strings.HasPrefix(string(r), "NOAUTH") }

// Ask sends a command on a connection of its own and returns the strings of its
// reply: those of a list, nested ones in sequence, or one string or number. An
// absent string is empty. An error that the server answered with is a [ReplyError].
func (s *Server) Ask(words ...string) ([]string, error) {
	conn, err := net.DialTimeout("tcp", s.addr, answerLimit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(appendCommand(nil, words)); err != nil {
		return nil, err
	}
	return readReply(bufio.NewReader(conn))
}

// appendCommand appends a command in the protocol's second version.
func appendCommand(to []byte, words []string) []byte {
	to = fmt.Appendf(to, "*%d\r\n", len(words))
	for _, word := range words {
		to = fmt.Appendf(to, "$%d\r\n%s\r\n", len(word), word)
	}
	return to
}

// The lists of a reply are nested no deeper.
const maxDepth = 8

// readReply reads one reply in the protocol's second version.
func readReply(from *bufio.Reader) ([]string, error) { return readNested(from, maxDepth) }

func readNested(from *bufio.Reader, depth int) ([]string, error) {
	line, err := from.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return nil, fmt.Errorf("an empty line in place of a reply")
	}
	switch kind, rest := line[0], line[1:]; kind {
	case '+', ':':
		return []string{rest}, nil
	case '-':
		return nil, ReplyError(rest)
	case '$':
		text, err := readBulk(from, rest)
		if err != nil {
			return nil, err
		}
		return []string{text}, nil
	case '*':
		return readList(from, rest, depth-1)
	default:
		return nil, fmt.Errorf("unknown reply %q", line)
	}
}

func readList(from *bufio.Reader, count string, depth int) ([]string, error) {
	n, err := strconv.Atoi(count)
	if err != nil {
		return nil, fmt.Errorf("invalid length of a list: %w", err)
	}
	if depth < 0 {
		return nil, fmt.Errorf("lists nested deeper than %d", maxDepth)
	}
	var list []string
	for range n {
		items, err := readNested(from, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, items...)
	}
	return list, nil
}

// The longest string that a server can hold.
const maxBulk = 512 << 20

func readBulk(from *bufio.Reader, length string) (string, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n > maxBulk {
		return "", fmt.Errorf("invalid length of a string: %q", length)
	}
	if n < 0 { // there is none
		return "", nil
	}
	// A length is only believed as far as there is text.
	var b strings.Builder
	for range n + len("\r\n") {
		c, err := from.ReadByte()
		if err != nil {
			return "", err
		}
		b.WriteByte(c)
	}
	text, ended := strings.CutSuffix(b.String(), "\r\n")
	if !ended {
		return "", fmt.Errorf("a string of %d bytes does not end with its line", n)
	}
	return text, nil
}
