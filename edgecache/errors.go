package edgecache

import "errors"

// Why a fetch, or the wait for one, ended without a complete response.
var (
	errClientGone   = errors.New("all clients left")
	errFetchTimeout = timeout("fetch deadline exceeded")
	errWaitTimeout  = errors.New("waited too long for another request's response")
	errTruncated    = errors.New("origin sent an incomplete response")
	errUnprepared   = errors.New("the fetch could not be prepared")
	errAnswered     = errors.New("answered from the store")
)

// timeout is an error that says, like a net.Error, that something took too long.
type timeout string

func (t timeout) Error() string { return string(t) }

// Timeout reports true.
func (timeout) Timeout() bool { return true }

// Temporary reports true: the next fetch may be quicker.
func (timeout) Temporary() bool { return true }
