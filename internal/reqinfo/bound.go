package reqinfo

// Bound is implemented by request variables that belong to one request alone: who
// makes another request on its behalf leaves them out of the variables it copies.
type Bound interface {
	// BoundToRequest does nothing.
	BoundToRequest()
}
