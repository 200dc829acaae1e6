// Package audit describes what a firewall decided, without the secrets of who was asked:
// what is told is bounded, and redacted where its name says that it is secret. It also
// counts what was told, to propose exceptions.
package audit
