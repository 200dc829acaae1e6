// Package access decides by a client's address whether it may come in: by sets of
// addresses, by list files, and by the network (ASN) or the country that a database
// in MaxMind's format gives for it. Files are read again when they change; a broken
// one leaves what was read before in force.
package access
