package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// The lines of a file are stamped and come in the order of time, so the stamps
// are the index: nothing else has to be kept, mended after a crash, or thrown
// away with the file. Where the clock was set back, lines around that moment
// may be found too late.

const (
	seekBlock = 8 << 10
	seekNear  = 64 << 10 // nearer than this, reading is as quick as seeking
)

// seekTime returns the offset of a line in the first end bytes of f such that
// all before it are older than since: a binary search, a few small reads.
func seekTime(f io.ReaderAt, end int64, since time.Time) (int64, error) {
	lo, hi := int64(0), end
	for hi-lo > seekNear {
		mid := lo + (hi-lo)/2
		at, stamp, err := stampAfter(f, mid, hi)
		if err != nil {
			return 0, err
		}
		if at < 0 || !stamp.Before(since) {
			hi = mid
		} else {
			lo = at
		}
	}
	return lo, nil
}

// stampAfter finds the first stamped line that begins behind from and before
// end; at < 0: there is none.
func stampAfter(f io.ReaderAt, from, end int64) (at int64, stamp time.Time, err error) {
	buf := make([]byte, seekBlock)
	for from < end {
		n, err := f.ReadAt(buf[:min(seekBlock, end-from)], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, time.Time{}, err
		}
		b := buf[:n]
		k := bytes.IndexByte(b, '\n')
		if k < 0 {
			if n == 0 {
				break
			}
			from += int64(n)
			continue
		}
		if len(b) < k+1+jsonStampAt+stampLen && n == seekBlock {
			from += int64(k) // the stamp may lie across the end of this block
			if k > 0 {
				continue
			}
		}
		if t, ok := stampOf(b[k+1:]); ok {
			return from + int64(k) + 1, t, nil
		}
		from += int64(k) + 1
	}
	return -1, time.Time{}, nil
}

// stampOf reads the stamp at the beginning of a line in either format.
func stampOf(line []byte) (time.Time, bool) {
	if bytes.HasPrefix(line, []byte(jsonBegin)) {
		line = line[jsonStampAt:]
		if len(line) < stampLen || line[stampLen-1] != '"' {
			return time.Time{}, false
		}
	} else if len(line) < stampLen || line[stampLen-1] != ' ' {
		return time.Time{}, false
	}
	t, err := time.Parse(stampLayout, string(line[:stampLen-1]))
	return t, err == nil
}

// parse takes a line of a file apart, whichever format it was written in: the
// format may have been another when it was.
func (y *history) parse(line []byte) item {
	t, ok := stampOf(line)
	if !ok {
		return item{time: y.last, text: line}
	}
	y.last = t.UnixNano()
	if line[0] != '{' {
		return item{time: y.last, text: line[stampLen:]}
	}
	var o Object
	if err := json.Unmarshal(line, &o); err != nil {
		return item{time: y.last, text: line} // cut short by a death: as it is
	}
	return item{time: y.last, text: []byte(o.Message), partial: o.Partial}
}
