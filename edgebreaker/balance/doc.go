// Package balance picks one of several backends. It knows nothing of HTTP and of
// breakers: a caller says who may be asked and how each of them is doing.
package balance
