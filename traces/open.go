// SPDX-License-Identifier: MIT

package traces

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Stdin is what the path "-" opens.
var Stdin io.Reader = os.Stdin

var (
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
	gzipMagic = []byte{0x1f, 0x8b}
)

// Open opens a trace: a file, or standard input for "-". Zstandard and gzip are recognised by their first bytes,
// whatever the name; a file called *.zst must be Zstandard.
func Open(path string) (io.ReadCloser, error) {
	if path == "-" {
		return decompress(io.NopCloser(Stdin), false)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := decompress(f, strings.HasSuffix(path, ".zst"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

type stream struct {
	io.Reader
	close func() error
}

func (s *stream) Close() error { return s.close() }

// decompress wraps src by what its first bytes say. It closes src if it fails.
func decompress(src io.ReadCloser, mustZstd bool) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(src, 64<<10)
	magic, err := br.Peek(len(zstdMagic))
	if err != nil && err != io.EOF {
		src.Close()
		return nil, err
	}
	switch {
	case mustZstd || bytes.Equal(magic, zstdMagic):
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1))
		if err != nil {
			src.Close()
			return nil, err
		}
		return &stream{z, func() error { z.Close(); return src.Close() }}, nil
	case bytes.HasPrefix(magic, gzipMagic):
		z, err := gzip.NewReader(br)
		if err != nil {
			src.Close()
			return nil, err
		}
		return &stream{z, func() error {
			err := z.Close()
			if cerr := src.Close(); err == nil {
				err = cerr
			}
			return err
		}}, nil
	}
	return &stream{br, src.Close}, nil
}
