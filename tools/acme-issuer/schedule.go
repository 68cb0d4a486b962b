package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"math/rand/v2"
	"time"
)

const (
	// An order that a server's window asks for waits at least so long after the one before, or a window that lies in the past for
	// a wrong reason would use up the server's limits (Let's Encrypt: five certificates for the same names in a week).
	shortestGap = 24 * time.Hour
	// Let's Encrypt allows five failed validations of a name in an hour (https://letsencrypt.org/docs/rate-limits/). With a first
	// pause of two minutes that doubles there are five in the first hour and one in each that follows.
	longestPause = time.Hour
)

// window is when the server wants a certificate to be renewed (RFC 9773); nil: it does not say.
type window struct{ start, end time.Time }

// due is when a certificate is to be renewed: somewhere in the server's window, else early in the last third of its life.
// Somewhere is always the same place for one certificate, so looking again does not move it, and others have another one.
func due(certificate *x509.Certificate, wanted *window) time.Time {
	life := certificate.NotAfter.Sub(certificate.NotBefore)
	if wanted == nil {
		return certificate.NotAfter.Add(-life / 3).Add(share(certificate, life/30))
	}
	at := wanted.start.Add(share(certificate, wanted.end.Sub(wanted.start)))
	if latest := certificate.NotAfter.Add(-life / 10); at.After(latest) {
		at = latest // a window may go on until the end
	}
	if earliest := certificate.NotBefore.Add(min(shortestGap, life/3)); at.Before(earliest) {
		return earliest
	}
	return at
}

// share is a part of a span that follows from the certificate's serial number.
func share(certificate *x509.Certificate, span time.Duration) time.Duration {
	digest := sha256.Sum256(certificate.SerialNumber.Bytes())
	part := float64(binary.BigEndian.Uint64(digest[:])>>11) / (1 << 53)
	return time.Duration(part * float64(span))
}

// pause is how long nothing is tried after so many failures in a row; a server that says for how long is obeyed.
func pause(failures int, first, asked time.Duration) time.Duration {
	length := longestPause
	if shift := failures - 1; shift < 20 {
		length = min(length, first<<max(shift, 0))
	}
	length += time.Duration(rand.Float64() * 0.2 * float64(length))
	return max(length, asked)
}
