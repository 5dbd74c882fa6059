// SPDX-License-Identifier: MIT

// Package layers holds the tests that keep the shape of the repository: which
// package may import which, what the simulator may never touch, and what every
// file looks like. There is no code here but tests.
//
//	layers_test.go       imports point down, and only where they are meant to
//	determinism_test.go  nothing that differs between two runs, below model/ and in sim
//	tidy_test.go         licences, names, and citations that exist
package layers
