package main

import (
	"crypto/tls"
	"crypto/x509"
	"strconv"
	"time"
)

// Annotations of the certificate's Secret: what `up` waits for and says, and what outlives a restart of this process.
const (
	annotation  = "qwen3-vl/acme-"
	stateKey    = annotation + "state"   // waiting, issued or failed
	messageKey  = annotation + "message" // what is waited for, or why it failed
	requestKey  = annotation + "request" // for whom the certificate was issued: settings.request
	failuresKey = annotation + "failures"
	nextKey     = annotation + "next-attempt" // not before; remove it to have it tried at once
	triedKey    = annotation + "tried"        // with which settings the last order was made: settings.fingerprint
)

// kept is what the Secret tells.
type kept struct {
	certificate *x509.Certificate // nil: nothing that can be shown
	issued      bool              // it is of this server, for this name
	failures    int
	next        time.Time
}

func (s *secret) kept(said *settings) kept {
	found := kept{}
	notes := s.Metadata.Annotations
	pair, err := tls.X509KeyPair(s.Data["tls.crt"], s.Data["tls.key"])
	if err == nil {
		found.certificate = pair.Leaf
		found.issued = notes[requestKey] == said.request() && pair.Leaf.VerifyHostname(said.host) == nil
	}
	if notes[triedKey] == said.fingerprint { // other settings are tried at once
		found.failures, _ = strconv.Atoi(notes[failuresKey])
		found.next, _ = time.Parse(time.RFC3339, notes[nextKey])
	}
	return found
}

// notes are annotations to be written; "" removes one.
func notes(pairs map[string]string) map[string]*string {
	changed := map[string]*string{}
	for key, value := range pairs {
		if value == "" {
			changed[key] = nil
			continue
		}
		changed[key] = &value
	}
	return changed
}
