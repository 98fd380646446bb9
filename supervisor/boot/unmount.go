package boot

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mounted is one line of mountinfo.
type mounted struct {
	target, fstype string
	readOnly       bool // the filesystem
}

// parseMounts reads /proc/self/mountinfo (proc(5)), in the order of mounting.
func parseMounts(text string) []mounted {
	var all []mounted
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 3 {
			continue
		}
		all = append(all, mounted{unescape(f[4]), g[0], hasOption(g[2], "ro")})
	}
	return all
}

func hasOption(list, name string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == name {
			return true
		}
	}
	return false
}

// unescape reads \040 and the like.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1]) && isOctal(s[i+2]) && isOctal(s[i+3]) {
			b = append(b, (s[i+1]-'0')<<6|(s[i+2]-'0')<<3|(s[i+3]-'0'))
			i += 3
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }

// ours says whether a mount is one that the end itself needs, or that has
// nothing on a disk.
func ours(target string) bool {
	for _, p := range [...]string{"/proc", "/sys", "/dev"} {
		if target == p || strings.HasPrefix(target, p+"/") {
			return true
		}
	}
	return target == "/run"
}

// unmountAll unmounts in reverse order, turns swap off and detaches loop
// devices, again and again while that makes something free; then makes what is
// left read-only; then detaches what is not even that.
func (m *Machine) unmountAll() {
	hung := map[string]bool{} // is not asked again
	said := map[string]string{}
	for range unmountPasses {
		freed := m.swapOff(hung) + m.unmountPass(hung, said) + m.detachLoops(hung)
		if len(m.mounts(false)) == 0 {
			break
		}
		if freed == 0 {
			// A lazy close in the kernel may take a moment.
			time.Sleep(unmountPause)
		}
	}
	for target, why := range said {
		m.say("cannot unmount " + target + ": " + why)
	}
	m.sync() // before a read-only remount that may hang
	left := m.mounts(true)
	for i := len(left) - 1; i >= 0; i-- {
		mt := left[i]
		if mt.readOnly || hung[mt.target] {
			continue
		}
		call := m.limited
		if mt.target == "/" {
			call = m.bounded
		}
		err := call(callPatience, func() error {
			return m.sys.mount("", mt.target, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		})
		m.try("cannot make "+mt.target+" read-only: ", err)
	}
	for i := len(left) - 1; i >= 0; i-- {
		if mt := left[i]; mt.target != "/" {
			err := m.limited(callPatience, func() error { return m.sys.unmount(mt.target, unix.MNT_DETACH) })
			m.try("cannot detach "+mt.target+": ", err)
		}
	}
}

// mounts lists what is to be unmounted, and with root the root filesystem too.
func (m *Machine) mounts(root bool) []mounted {
	text, err := m.sys.readFile("/proc/self/mountinfo")
	if err != nil {
		m.say("cannot read what is mounted: " + err.Error())
		return nil
	}
	var all []mounted
	for _, mt := range parseMounts(text) {
		if mt.target == "/" {
			if root && mt.fstype != "rootfs" && mt.fstype != "tmpfs" && mt.fstype != "ramfs" {
				all = append(all, mt)
			}
		} else if !ours(mt.target) {
			all = append(all, mt)
		}
	}
	return all
}

func (m *Machine) unmountPass(hung map[string]bool, said map[string]string) (freed int) {
	all := m.mounts(false)
	for i := len(all) - 1; i >= 0; i-- {
		target := all[i].target
		if hung[target] {
			continue
		}
		err := m.limited(callPatience, func() error { return m.sys.unmount(target, 0) })
		switch {
		case err == nil:
			freed++
			delete(said, target)
		case err == errTimeout:
			hung[target] = true
			said[target] = err.Error()
		default:
			said[target] = err.Error()
		}
	}
	return freed
}

func (m *Machine) swapOff(hung map[string]bool) (freed int) {
	text, err := m.sys.readFile("/proc/swaps")
	if err != nil {
		return 0 // a kernel without swap
	}
	for i, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if i == 0 || len(f) == 0 || hung[f[0]] {
			continue
		}
		path := unescape(f[0])
		if err := m.limited(callPatience, func() error { return m.sys.swapoff(path) }); err != nil {
			hung[f[0]] = true
			m.say("cannot turn the swap " + path + " off: " + err.Error())
			continue
		}
		freed++
	}
	return freed
}

func (m *Machine) detachLoops(hung map[string]bool) (freed int) {
	devices, err := m.sys.loopDevices()
	m.try("cannot list the loop devices: ", err)
	for _, d := range devices {
		if hung[d] {
			continue
		}
		// One in use is detached when its mount goes; a second try says nothing
		// new, so errors are not said: its mount's are.
		if m.limited(callPatience, func() error { return m.sys.detachLoop(d) }) == nil {
			hung[d] = true
			freed++
		}
	}
	return freed
}
