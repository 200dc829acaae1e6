package content

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// MaxCodings is how many codings are undone. More than one is unusual already.
const MaxCodings = 2

// ErrCoding is returned for a coding that is not known.
var ErrCoding = errors.New("unknown content coding")

// errBehind is returned for content that has more behind its coding.
var errBehind = errors.New("there is something behind the coding")

// Codings splits the values of Content-Encoding (RFC 9110 section 8.4) into the codings in
// the order in which they were applied, without identity.
func Codings(values []string) []string {
	var list []string
	for _, value := range values {
		for coding := range strings.SplitSeq(value, ",") {
			coding = strings.ToLower(strings.Trim(coding, " \t"))
			if coding != "" && coding != "identity" {
				list = append(list, coding)
			}
		}
	}
	return list
}

// Decode undoes the codings of content and returns at most limit bytes. It reports whether
// that is all: it is not when there was more, or when the content was cut, which cut says,
// and ended within a coding. Content that can't be decoded is an error with what could be.
func Decode(codings []string, data []byte, cut bool, limit int64) (decoded []byte, whole bool, err error) {
	if len(codings) > MaxCodings {
		return nil, false, fmt.Errorf("%w: %d of them", ErrCoding, len(codings))
	}
	whole = !cut
	for _, coding := range slices.Backward(codings) {
		data, whole, err = undo(coding, data, whole, limit)
		if err != nil {
			return data, false, err
		}
	}
	if int64(len(data)) > limit {
		data, whole = data[:limit], false
	}
	return data, whole, nil
}

// undo undoes one coding.
func undo(coding string, data []byte, whole bool, limit int64) ([]byte, bool, error) {
	in := bytes.NewReader(data)
	r, err := open(coding, in, data)
	if err != nil {
		return nil, false, err
	}
	defer r.Close()
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, limit+1))
	if coding == "deflate" && err == nil && n <= limit && in.Len() > 0 {
		// Who does not decode it reads what is there. The other decoders say so themselves.
		return nil, false, errBehind
	}
	switch {
	case n > limit:
		out.Truncate(int(limit))
		return out.Bytes(), false, nil
	case err == nil:
		return out.Bytes(), whole, nil
	case !whole && ended(err):
		return out.Bytes(), false, nil
	}
	return out.Bytes(), false, fmt.Errorf("%s: %w", coding, err)
}

// ended reports whether a decoder wanted more than there was.
func ended(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// maxWindow bounds the memory of a decoder: 8 MiB, the most that RFC 9659 has for HTTP.
const maxWindow = 8 << 20

func open(coding string, in *bytes.Reader, data []byte) (io.ReadCloser, error) {
	switch coding {
	case "gzip", "x-gzip":
		r, err := gzip.NewReader(in)
		if err != nil {
			return late(err), nil
		}
		return r, nil
	case "deflate":
		// Many senders leave out the frame of RFC 1950.
		if len(data) >= 2 && data[0]&0x0f == 8 && (int(data[0])<<8|int(data[1]))%31 == 0 {
			r, err := zlib.NewReader(in)
			if err != nil {
				return late(err), nil
			}
			return r, nil
		}
		return flate.NewReader(in), nil
	case "br":
		return io.NopCloser(brotli.NewReader(in)), nil
	case "zstd":
		r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return late(err), nil
		}
		return r.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("%w %q", ErrCoding, coding)
}

// late is a reader that fails.
func late(err error) io.ReadCloser { return io.NopCloser(failing{err}) }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
