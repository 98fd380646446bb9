package logs

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
)

// A compressed log is a gzip file that every gzip reads: members of gzBlock
// bytes of text each, one after the other (RFC 1952, 2.2; bgzip does the same).
// So that a reader can go to any byte of the text without unpacking what comes
// before, each member says in its extra field how long it is:
//
//	offset 10  XLEN, 12
//	       12  "NL", length 8
//	       16  bytes of the member, this header included   (uint32, little endian)
//	       20  bytes of text                               (uint32, little endian)
//
// The index is the file itself: it cannot be lost, stale or half written.
const (
	gzBlock   = 64 << 10
	gzHeader  = 24
	gzMembers = 1 << 22 // 256 GiB of text; more is no log of ours
	gzFlags   = 4       // FEXTRA and nothing else
)

// errForeign: a compressed file in the place of a log that is none of ours, or
// is damaged.
var errForeign = errors.New("it was not made by nines-log, or is damaged")

// packer compresses block by block.
type packer struct {
	in  []byte
	out bytes.Buffer
	gz  *gzip.Writer
}

func newPacker() *packer {
	p := &packer{in: make([]byte, gzBlock)}
	p.gz = gzip.NewWriter(&p.out)
	return p
}

// pack writes text, at most gzBlock bytes, as one member.
func (p *packer) pack(w io.Writer, text []byte) error {
	p.out.Reset()
	p.gz.Reset(&p.out)
	extra := [gzHeader - 12]byte{'N', 'L', 8, 0}
	binary.LittleEndian.PutUint32(extra[8:], uint32(len(text)))
	p.gz.Extra = extra[:]
	if _, err := p.gz.Write(text); err != nil {
		return err
	}
	if err := p.gz.Close(); err != nil {
		return err
	}
	b := p.out.Bytes()
	binary.LittleEndian.PutUint32(b[16:], uint32(len(b)))
	_, err := w.Write(b)
	return err
}

// copy packs all of r. It ends early, with errStopped, when stopped says so.
func (p *packer) copy(w io.Writer, r io.Reader, stopped func() bool) error {
	for {
		if stopped() {
			return errStopped
		}
		n, err := io.ReadFull(r, p.in)
		if n > 0 {
			if err := p.pack(w, p.in[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// member is where a run of text lies in a compressed file.
type member struct {
	text int64 // offset of its first byte in the text
	at   int64 // offset of the member in the file
}

// unpacked is a compressed log, read by offsets of its text. It keeps one
// block: one reader at a time.
type unpacked struct {
	f       io.ReaderAt
	members []member // and one more, which is the end
	gz      *gzip.Reader
	src     *bufio.Reader
	block   []byte
	have    int // which member block is of; -1: none
}

// openPacked reads the headers of f, size bytes long.
func openPacked(f io.ReaderAt, size int64) (*unpacked, error) {
	u := &unpacked{f: f, have: -1}
	var h [gzHeader]byte
	var m member
	for m.at < size {
		if _, err := f.ReadAt(h[:], m.at); err != nil {
			if errors.Is(err, io.EOF) {
				err = errForeign
			}
			return nil, err
		}
		length, text := int64(binary.LittleEndian.Uint32(h[16:])), int64(binary.LittleEndian.Uint32(h[20:]))
		ours := h[0] == 0x1f && h[1] == 0x8b && h[2] == 8 && h[3] == gzFlags && h[10] == gzHeader-12 && h[11] == 0 &&
			h[12] == 'N' && h[13] == 'L' && h[14] == 8 && h[15] == 0
		if !ours || length <= gzHeader || length > size-m.at || text == 0 || text > gzBlock || len(u.members) == gzMembers {
			return nil, errForeign
		}
		u.members = append(u.members, m)
		m.at, m.text = m.at+length, m.text+text
	}
	u.members = append(u.members, m)
	return u, nil
}

func (u *unpacked) size() int64 { return u.members[len(u.members)-1].text }

func (u *unpacked) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		i := sort.Search(len(u.members), func(i int) bool { return u.members[i].text > off }) - 1
		if i < 0 || i == len(u.members)-1 {
			return n, io.EOF
		}
		if err := u.load(i); err != nil {
			return n, err
		}
		k := copy(b[n:], u.block[off-u.members[i].text:])
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

// load unpacks member i into block.
func (u *unpacked) load(i int) (err error) {
	if u.have == i {
		return nil
	}
	u.have = -1
	from, to := u.members[i], u.members[i+1]
	src := io.NewSectionReader(u.f, from.at, to.at-from.at)
	if u.gz == nil {
		u.src, u.block = bufio.NewReaderSize(src, 4096), make([]byte, 0, gzBlock)
		u.gz, err = gzip.NewReader(u.src)
	} else {
		u.src.Reset(src)
		err = u.gz.Reset(u.src)
	}
	if err != nil {
		u.gz = nil
		return fmt.Errorf("%w: %w", errForeign, err)
	}
	u.gz.Multistream(false)
	u.block = u.block[:to.text-from.text]
	if _, err := io.ReadFull(u.gz, u.block); err != nil {
		return fmt.Errorf("%w: %w", errForeign, err)
	}
	// The checksum is looked at when the end is.
	var more [1]byte
	if n, err := u.gz.Read(more[:]); n != 0 || err != io.EOF {
		return fmt.Errorf("%w: its length or checksum is wrong: %w", errForeign, errors.Join(err))
	}
	u.have = i
	return nil
}
