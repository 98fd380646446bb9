package sim

import (
	"time"

	"nines/spec"
	"nines/supervisor/policy"
)

// FromBytes makes a scenario from bytes, for a fuzzer: two bytes choose the
// specification and the faults, and each three after them one act: how long
// after the one before, what, and to whom. Every input is a valid scenario.
func FromBytes(data []byte) *Scenario {
	at := func(i int) int {
		if i < len(data) {
			return int(data[i])
		}
		return 0
	}
	seed := uint64(at(0))<<8 | uint64(at(1))
	c := key(seed, hash("bytes"))
	s := &Scenario{Seed: seed, Faults: generateFaults(&c), Spec: generateSpec(&c, 6), Steps: 400}
	s.Faults.Words = generateWords(seed)
	const most = 64 // acts; more make an input slow, not rich
	now := time.Duration(0)
	for i := 2; i+2 < len(data) && i < 2+3*most; i += 3 {
		now += wait(at(i))
		s.Script = append(s.Script, s.act(now, at(i+1), at(i+2)))
	}
	s.Calm = now + time.Second
	return s
}

// wait is the time between two acts: from none to 17 minutes, by powers of two.
func wait(b int) time.Duration {
	if b == 0 {
		return 0
	}
	return time.Duration(1+b&15) << (b >> 4) * 2 * time.Millisecond
}

func (s *Scenario) act(now time.Duration, what, whom int) Act {
	svc := s.Spec.Services[whom%len(s.Spec.Services)]
	index := whom / len(s.Spec.Services) % 6
	cmd := policy.Command{Service: svc.Name, Instance: index - 1, By: "root (uid 0)"} // -1 is all
	a := Act{At: now, Command: &cmd}
	switch what % 16 {
	case 0, 1, 2:
		cmd.Verb = policy.VerbStart
	case 3, 4, 5:
		cmd.Verb = policy.VerbStop
	case 6:
		cmd.Verb = policy.VerbRestart
	case 7:
		cmd.Verb = policy.VerbReload
	case 8:
		cmd.Verb, cmd.Instances, cmd.Instance = policy.VerbScale, index, -1
	case 9:
		if what >= 128 {
			other := s.Spec.Services[(whom/7+1)%len(s.Spec.Services)].Name
			return Act{At: now, Apply: &Apply{Edits: []Edit{{Kind: EditKind(whom) % editKinds, Service: svc.Name, Other: other, N: index}}}}
		}
		cmd.Verb, cmd.Signal = policy.VerbSignal, "SIGUSR1"
	case 10:
		return Act{At: now, Crash: &Crash{Service: svc.Name, Instance: index, Status: policy.Status{Code: what / 15}}}
	case 13:
		on := [...]spec.OnFailure{spec.OnFailureRestart, spec.OnFailureDump, spec.OnFailureAlert, spec.OnFailureIsolate}[what/16%4]
		return Act{At: now, Judge: &Judge{Service: svc.Name, Instance: index, Cause: policy.CauseCheck + policy.Cause(what/45%4), On: on, Withdraw: what > 200}}
	case 15:
		return Act{At: now, Inmate: &InmateAct{Service: svc.Name, Resume: what > 128}}
	case 14:
		return Act{At: now, Clock: wait(whom) * time.Duration(1-what/15%2*2)}
	case 12:
		return Act{At: now, Death: &Death{Down: wait(whom), Unknown: what * 4}}
	case 11:
		if what < 128 {
			return Act{At: now, Jump: wait(whom)}
		}
		return Act{At: now, Shutdown: &policy.Shutdown{Code: whom, Cause: "nines shutdown"}}
	}
	return a
}
